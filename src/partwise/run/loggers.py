"""Loggers of a training: metrics.csv always, others as the config names them."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from partwise.checkpoints.loading import load
from partwise.io.atomic import atomic
from partwise.run.extensions import make_all
from partwise.run.folder import Run, is_first
from partwise.run.resuming import settle


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
    file, earlier = run.folder / "metrics.csv", run.folder / "metrics-earlier.csv"
    logger = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    if not is_first():
        return logger
    if file.is_file() and not earlier.is_file():  # both are there after a kill further below
        os.replace(file, earlier)  # the logger begins with an empty file
    logger._experiment = _MetricsWriter(log_dir=logger.log_dir)
    if earlier.is_file():
        logger.experiment.metrics.extend(_rows_before(earlier, run.checkpoint))
        logger.save()
        earlier.unlink()
    return logger


class _MetricsWriter(ExperimentWriter):
    """Lightning's writer, which a kill while there are new columns would cost all rows."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="") as file:
            rows = list(csv.DictReader(file))
        with atomic(self.metrics_file_path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(rows)


def _rows_before(file: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Rows of metrics.csv up to the checkpoint's step; later ones will be logged again."""
    if checkpoint is None:
        return []
    content = load(checkpoint)
    last, validates = content["global_step"] - 1, settle(content["loops"]["fit_loop"])
    with file.open(newline="") as lines:
        rows = [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(lines)]
    return [
        row for row in rows
        if int(row["step"]) < last
        or (int(row["step"]) == last and not (validates and any(key.startswith("val/") for key in row)))
    ]  # fmt: skip
