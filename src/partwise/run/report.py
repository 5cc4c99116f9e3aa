"""The end of a run: metrics beside what they should beat, and where everything lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from rich.table import Table

from partwise.io.atomic import write_json
from partwise.labels import LabelSet
from partwise.models.task import ParsingTask
from partwise.predict.predict import Summary
from partwise.run.folder import Run, console, origin
from partwise.run.pictures import make_pictures
from partwise.tables import units

TITLES = {
    "trained": "trained",
    "frame": "the frame model that it started from",
    "untrained": "the same, as it started",
    "majority": "majority class",
    "still": "no motion",
}
#: Columns of the table, where the task has them; every metric is in metrics.json.
COLUMNS = {
    "miou": "mIoU",
    "pixel_accuracy": "pixel acc.",
    "fg_accuracy": "fg. acc.",
    "human_ap_50": "person AP.50",
    "human_ap": "person AP",
    "part_ap_50": "part AP.50",
    "part_ap_vol": "part AP vol",
    "accuracy": "accuracy",
    "avg_precision": "precision",
    "avg_recall": "recall",
    "avg_f1": "F-1",
    "AP": "AP",
    "AP50": "AP.50",
    "keypoints_AP": "keypoint AP",
    "keypoints_AP50": "keypoint AP.50",
    "J_mean": "J",
    "F_mean": "F",
    "epe": "end-point error, pixels",
    "reconstruction": "mean difference of images, 0 to 3",
}
PER_CLASS = {"iou_": "IoU", "f1_": "F-1"}
CLASS_COLUMNS = 4  # classes beside each other in the table of their IoUs


def finish(run: Run, scorer: pl.Trainer, data: Any, tasks: Mapping[str, ParsingTask]) -> None:
    """Score every task on the test split, write metrics.json, draw pictures and print them all.

    Args:
        run: whose folder holds the results.
        scorer: Trainer that scores.
        data: DataModule.
        tasks: by name; "trained" is the one whose pictures are drawn.
    """
    rows = {name: score(scorer, data, task) for name, task in tasks.items()}
    if scorer.is_global_zero:
        flat = {
            f"{'test' if name == 'trained' else f'test_{name}'}/{k}": v
            for name, row in rows.items()
            for k, v in row.items()
        }
        write_json(run.folder / "metrics.json", flat)
        task = tasks["trained"].to(scorer.strategy.root_device)  # the Trainer has moved it to the CPU
        files = make_pictures(run, data, task, tasks.get("frame"))
        source = origin(data.synthetic)
        run.say(metrics_table(rows, f"test split, {source} data"))
        for prefix, metric in PER_CLASS.items():
            if any(key.startswith(prefix) for key in rows["trained"]):
                title = f"{metric} of each class, {source} data, in percent"
                run.say(class_table(rows["trained"], prefix, data.label_set, title))
        for about, file in {**files, "checkpoint": run.last, "metrics": run.folder / "metrics.json"}.items():
            if file.exists():
                run.say(f"{about:<16} {file}")
        run.end("finished")
    scorer.strategy.barrier()


def score(scorer: pl.Trainer, data: Any, task: ParsingTask) -> dict[str, float | None]:
    """Score a task on the test split.

    Args:
        scorer: Trainer that scores.
        data: DataModule.
        task: to score.

    Returns:
        Metrics by name, without their split; None where one is undefined.
    """
    scorer.test(task, data, verbose=False)
    metrics = {k.removeprefix("test/"): float(v) for k, v in scorer.callback_metrics.items()}
    return {k: None if math.isnan(v) else v for k, v in metrics.items()}


def metrics_table(rows: Mapping[str, Mapping[str, float | None]], title: str) -> Table:
    """Make a table with one row for each task.

    Args:
        rows: metrics of each task, by the task's name; "trained" decides which metrics are shown.
        title: of the table; the unit is added.
    """
    shown = [key for key in COLUMNS if key in rows["trained"]]
    unit = "" if set(shown) <= units.DIGITS.keys() else ", in percent"
    table = Table(title=f"{title}{unit}", title_justify="left")
    table.add_column("")
    for key in shown:
        table.add_column(COLUMNS[key], justify="right")
    for name, row in rows.items():
        metrics = [_shown(key, row.get(key)) for key in shown]  # a baseline may have no keypoints
        table.add_row(TITLES.get(name, name), *metrics, style="bold" if name == "trained" else "")
    return table


def _shown(key: str, value: float | None) -> str:
    return "–" if value is None else f"{units.shown(key, value):.{units.digits(key)}f}"


def class_table(row: Mapping[str, float | None], prefix: str, label_set: LabelSet, title: str) -> Table:
    """Make a table of one metric of every class, side by side in a few columns.

    Args:
        row: metrics by name.
        prefix: of the metric's names, such as "iou_".
        label_set: whose classes are shown.
        title: of the table.
    """
    table = Table(title=title, title_justify="left", show_header=False)
    metrics = {name: row[f"{prefix}{name}"] for name in label_set.names}
    cells = [(name, "–" if value is None else f"{value:.1f}") for name, value in metrics.items()]
    height = math.ceil(len(cells) / CLASS_COLUMNS)
    for line in range(height):
        table.add_row(*(text for cell in cells[line::height] for text in cell))
    return table


def show_summary(summary: Summary) -> None:
    """Print what task=predict read and where its results lie."""
    skipped = f", {len(summary.failed)} files skipped or cut short" if summary.failed else ""
    console.print(
        f"parsed {summary.frames} frames of {summary.source} at {summary.fps:.1f} frames/s{skipped}", markup=False
    )
    console.print(f"results          {summary.output}", markup=False, soft_wrap=True)
