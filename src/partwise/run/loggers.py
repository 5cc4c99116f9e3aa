"""Loggers of a training: metrics.csv always, others as the config names them."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from partwise.checkpoints.loading import load
from partwise.run.extensions import make_all
from partwise.run.folder import Run, is_first


def make_loggers(run: Run, entries: Mapping[str, Any], config: dict[str, Any]) -> list[Logger]:
    """Make the logger of metrics.csv, which every run has, and those that the config names.

    Args:
        run: whose folder holds metrics.csv.
        entries: of the config's `logger`, by name.
        config: of the run, plain containers; the named loggers log it.

    Returns:
        The loggers, metrics.csv first.

    Raises:
        InputError: an entry is no logger.
    """
    named = make_all(entries, "logger", Logger)
    for logger in named:
        logger.log_hyperparams(config)
    return [_metrics_file(run), *named]


def wandb_logger(**options: Any) -> WandbLogger:
    """Make a logger of Weights & Biases, offline unless there is an account or WANDB_MODE says otherwise.

    Args:
        options: of `WandbLogger`.
    """
    import wandb as client

    asked = options.get("mode") or os.environ.get("WANDB_MODE")
    mode = asked or (None if client.login(prompt=False) else "offline")
    # An offline run cannot know what the server has.
    return WandbLogger(**{"mode": mode, "resume": None if mode == "offline" else "allow", **options})


def _metrics_file(run: Run) -> CSVLogger:
    file = run.folder / "metrics.csv"
    kept = _rows_before(file, run.checkpoint) if is_first() and file.is_file() else []
    logger = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    if is_first():
        logger.experiment.metrics.extend(kept)  # the logger begins with an empty file
    return logger


def _rows_before(file: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Rows of metrics.csv up to the checkpoint's step; later ones will be logged again."""
    if checkpoint is None:
        return []
    step = load(checkpoint)["global_step"]
    with file.open(newline="") as rows:
        return [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(rows) if int(row["step"]) < step]
