"""metrics.csv, and Weights & Biases on request."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from partwise.checkpoints.loading import load
from partwise.run.folder import Run, is_first


def make_loggers(run: Run, choice: DictConfig, config: dict[str, Any], tags: list[str]) -> list[Logger]:
    """metrics.csv always; Weights & Biases on request, offline unless there is an account."""
    file = run.folder / "metrics.csv"
    kept = _rows_before(file, run.checkpoint) if file.is_file() else []
    csv_logger = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    if is_first():
        logging.getLogger("pytorch_lightning").addHandler(logging.FileHandler(run.folder / "log.txt"))
        csv_logger.experiment.metrics.extend(kept)  # the logger begins with an empty file
    if not choice.wandb:
        return [csv_logger]
    import wandb as client

    offline = os.environ.get("WANDB_MODE", "offline") == "offline" and not client.login(prompt=False)
    logger = WandbLogger(
        project=choice.project,
        id=run.id,
        name=run.id,
        save_dir=run.folder,
        tags=tags,
        config=config,
        resume=None if offline else "allow",  # an offline run cannot know what the server has
        mode="offline" if offline else os.environ.get("WANDB_MODE"),
    )
    return [csv_logger, logger]


def _rows_before(file: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Rows of metrics.csv up to the checkpoint's step; later ones will be logged again."""
    if checkpoint is None:
        return []
    step = load(checkpoint)["global_step"]
    with file.open(newline="") as rows:
        return [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(rows) if int(row["step"]) < step]
