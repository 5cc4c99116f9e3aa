"""The end of a run: metrics beside what they should beat, pictures, and where everything lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from rich.table import Table

from partwise import viz
from partwise.arrays import Picture
from partwise.batches import masks_of
from partwise.io.atomic import write_json
from partwise.io.images import read_image, write_image
from partwise.io.video import VideoWriter
from partwise.labels import LabelSet
from partwise.models.flow_task import FlowTask
from partwise.models.task import ParsingTask
from partwise.predict.frames import FrameParser, to_cpu
from partwise.predict.linking import PersonLinker
from partwise.predict.predict import Summary
from partwise.run.folder import Run, console, origin
from partwise.tables import units

TITLES = {
    "trained": "trained",
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
    "J_mean": "J",
    "F_mean": "F",
    "epe": "end-point error, pixels",
    "reconstruction": "mean difference of images, 0 to 3",
}
PER_CLASS = {"iou_": "IoU", "f1_": "F-1"}
PICTURES = 10  # test samples in the overlay picture
CLASS_COLUMNS = 4  # classes beside each other in the table of their IoUs
SHOWN = 320  # longer side of what pictures and videos show, pixels


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
        files = make_pictures(run, data, task)
        source = origin(data.synthetic)
        run.say(metrics_table(rows, f"test split, {source} data"))
        for prefix, metric in PER_CLASS.items():
            if any(key.startswith(prefix) for key in rows["trained"]):
                title = f"{metric} of each class, {source} data, in percent"
                run.say(class_table(rows["trained"], prefix, data.label_set, title))
        for about, file in {**files, "checkpoint": run.last, "metrics": run.folder / "metrics.json"}.items():
            if file.exists():
                run.say(f"{about:<16} {file}")
        run.record(status="finished")
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
        metrics = [_shown(key, row[key]) for key in shown]
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


def make_pictures(run: Run, data: Any, task: ParsingTask) -> dict[str, Path]:
    """Draw test samples beside their truth, and a short video if there are frames.

    Args:
        run: whose folder gets the pictures.
        data: DataModule.
        task: the trained one.

    Returns:
        The files, by what they show.
    """
    picture, video = run.folder / "pictures" / "overlay.jpg", run.folder / "pictures" / "overlay.mp4"
    picture.parent.mkdir(exist_ok=True)
    task.eval()
    if isinstance(task, FlowTask):
        write_image(picture, _flow_comparison(task, data))
        return {"flow picture": picture}
    write_image(picture, _comparison(task, data))
    files = {"overlay picture": picture}
    frames = data.clip()
    if frames:
        parser = FrameParser(task.network, data.label_set, data.image_size, task.device, stretch=task.stretch)
        _overlay_video(parser, frames, video)
        files["overlay video"] = video
    for name, figure in task.plot(data).items():
        files[name.replace("_", " ")] = picture.with_name(f"{name}.png")
        figure.savefig(files[name.replace("_", " ")], dpi=100)
    return files


def show_summary(summary: Summary) -> None:
    """Print what task=predict read and where its results lie."""
    skipped = f", {len(summary.failed)} files skipped or cut short" if summary.failed else ""
    console.print(
        f"parsed {summary.frames} frames of {summary.source} at {summary.fps:.1f} frames/s{skipped}", markup=False
    )
    console.print(f"results          {summary.output}", markup=False, soft_wrap=True)


def _test_samples(data: Any) -> Iterator[tuple[Any, int, dict[str, Any]]]:
    """Samples spread over the test split: the dataset, the place in it, and a batch of the one sample."""
    loader = data.test_dataloader()
    dataset = getattr(loader.dataset, "frames", loader.dataset)  # of whole videos, single frames
    chosen = np.linspace(0, len(dataset) - 1, min(PICTURES, len(dataset))).round().astype(int)
    for index in chosen.tolist():
        yield dataset, index, data.on_after_batch_transfer(loader.collate_fn([dataset[index]]), 0)


@torch.inference_mode()
def _comparison(task: ParsingTask, data: Any) -> Picture:
    """Frame, truth and parse of test samples, above the legend of what occurs."""
    cells: list[Picture] = []
    present: set[int] = set()
    for dataset, index, batch in _test_samples(data):
        frame, truth = dataset.picture(index), batch["annotations"][0]
        parsed = to_cpu(task.parse(apply_to_collection(batch, torch.Tensor, lambda x: x.to(task.device)))[0])
        drawn = [frame, viz.overlay(frame, truth, data.label_set), viz.overlay(frame, parsed, data.label_set)]
        cells.append(_beside(drawn))
        present |= {*torch.unique(truth["parts"]).tolist(), *torch.unique(parsed["parts"]).tolist()}
    sheet = viz.grid(cells, columns=2)
    return np.concatenate([sheet, viz.legend(data.label_set, present, width=sheet.shape[1])])


@torch.inference_mode()
def _flow_comparison(task: FlowTask, data: Any) -> Picture:
    """First frame, estimated flow, and true flow where known, of test samples, in colours of one scale a sample."""
    cells: list[Picture] = []
    for _, _, batch in _test_samples(data):
        frames, truth = task.pairs(batch)
        frame = (frames[0, 0].permute(1, 2, 0) * 255).byte().numpy()
        flows = [task.estimate(frames[:1].to(task.device))[0].cpu().numpy()]
        flows += [] if truth is None else [truth[0].numpy()]
        longest = float(np.linalg.norm(flows[-1], axis=0).max())
        cells.append(_beside([frame, *(viz.flow_colors(flow, longest) for flow in flows)]))
    return viz.grid(cells, columns=2)


def _overlay_video(parser: FrameParser, files: list[Path], output: Path) -> None:
    """Each frame beside its parse, persons in stable colours."""
    images, linker = [read_image(file, upright=False) for file in files], PersonLinker()
    with ExitStack() as stack:
        video: VideoWriter | None = None
        for image, parsing in zip(images, parser.stream(images), strict=True):
            ids = linker.link(masks_of(parsing["persons"]).numpy()) if "persons" in parsing else None
            shown = _beside([image, viz.overlay(image, parsing, parser.label_set, person_ids=ids)])
            video = video or stack.enter_context(VideoWriter(output, fps=8, size=shown.shape[:2]))
            video.write(shown)


def _beside(pictures: list[Picture]) -> Picture:
    """Pictures of one size in a row, at a size that can be looked at."""
    return viz.side_by_side(*(viz.fit(picture, SHOWN, SHOWN) for picture in pictures))
