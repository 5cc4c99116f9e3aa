"""The pictures of a run's end: what the trained network makes of test samples, beside their truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection

from partwise import viz
from partwise.arrays import Picture
from partwise.batches import Annotation, Parsing, masks_of
from partwise.io.images import read_image, write_image
from partwise.io.video import VideoWriter
from partwise.labels import LabelSet
from partwise.models.flow_task import FlowTask
from partwise.models.task import ParsingTask
from partwise.predict.frames import FrameParser, to_cpu
from partwise.predict.linking import PersonLinker
from partwise.run.folder import Run

STILLS, CLIPS = 10, 4  # test samples in the overlay picture
APART = 3  # frames from a clip's target to those shown before and after it
REACH = 9  # frames on either side of a target that its clip's parse begins and ends with
SHOWN = 320  # longer side of what pictures and videos show, pixels


@runtime_checkable
class Clips(Protocol):
    """A dataset whose samples are frames of videos."""

    def video(self, index: int) -> tuple[int, Mapping[int, Path]]:
        """Return the number of a sample's frame, and number -> file of all frames around it."""
        ...


@dataclass(frozen=True)
class Sample:
    """A test sample.

    Attributes:
        dataset: that it is of.
        index: its place there.
        batch: of it alone.
    """

    dataset: Any
    index: int
    batch: dict[str, Any]

    @property
    def truth(self) -> Annotation:
        """Its ground truth at its native size."""
        truth: Annotation = self.batch["annotations"][0]
        return truth

    def parse(self, task: ParsingTask) -> Parsing:
        """Parse it with a task, as testing does."""
        batch = apply_to_collection(self.batch, torch.Tensor, lambda x: x.to(task.device))
        parsed: Parsing = to_cpu(task.parse(batch)[0])
        return parsed


def make_pictures(run: Run, data: Any, task: ParsingTask, frame: ParsingTask | None = None) -> dict[str, Path]:
    """Draw test samples beside their truth, and a short video if there are frames.

    Args:
        run: whose folder gets the pictures.
        data: DataModule.
        task: the trained one.
        frame: of the frame model that a parser of videos started from, to draw beside it.

    Returns:
        The files, by what they show.
    """
    picture, video = run.folder / "pictures" / "overlay.jpg", run.folder / "pictures" / "overlay.mp4"
    picture.parent.mkdir(exist_ok=True)
    task.eval()
    if isinstance(task, FlowTask):
        write_image(picture, _flow_comparison(task, data))
        return {"flow picture": picture}
    parser = _parser(task, data, task.device)
    alone = None if frame is None else _parser(frame, data, task.device)
    write_image(picture, _comparison(task, data, parser, alone))
    files = {"overlay picture": picture}
    frames = data.clip()
    if frames:
        _overlay_video(parser, frames, video)
        files["overlay video"] = video
    for name, figure in task.plot(data).items():
        files[name.replace("_", " ")] = picture.with_name(f"{name}.png")
        figure.savefig(files[name.replace("_", " ")], dpi=100)
    return files


def _parser(task: ParsingTask, data: Any, device: torch.device) -> FrameParser:
    return FrameParser(task.network, data.label_set, data.image_size, device, stretch=task.stretch)


def _test_samples(data: Any) -> Iterator[Sample]:
    """Yield samples spread over the test split."""
    loader = data.test_dataloader()
    dataset = getattr(loader.dataset, "frames", loader.dataset)  # of whole videos, single frames
    count = min(CLIPS if isinstance(dataset, Clips) else STILLS, len(dataset))
    for index in ((np.arange(count) + 0.5) * len(dataset) / count).astype(int).tolist():
        yield Sample(dataset, index, data.on_after_batch_transfer(loader.collate_fn([dataset[index]]), 0))


@torch.inference_mode()
def _comparison(task: ParsingTask, data: Any, parser: FrameParser, alone: FrameParser | None) -> Picture:
    """Draw test samples, their truth and their parse, above the legend of what occurs."""
    cells: list[Picture] = []
    present: set[int] = set()
    for sample in _test_samples(data):
        clip = isinstance(sample.dataset, Clips)
        cell, parsed = _clip(sample, parser, alone) if clip else _still(sample, task, data.label_set)
        cells.append(cell)
        present |= {*torch.unique(sample.truth["parts"]).tolist(), *torch.unique(parsed["parts"]).tolist()}
    sheet = viz.grid(cells, columns=1 if cells[0].shape[1] > 3 * SHOWN else 2, gap=18)
    return np.concatenate([sheet, viz.legend(data.label_set, present, width=sheet.shape[1])])


def _still(sample: Sample, task: ParsingTask, label_set: LabelSet) -> tuple[Picture, Parsing]:
    """Draw a picture, its truth and its parse in a row."""
    image, parsed = sample.dataset.picture(sample.index), sample.parse(task)
    drawn = [viz.overlay(image, shown, label_set) for shown in (sample.truth, parsed)]
    return _beside([image, *drawn]), parsed


def _clip(sample: Sample, parser: FrameParser, alone: FrameParser | None) -> tuple[Picture, Parsing]:
    """Draw three frames of a clip, before, at and after its target, and below them their parse.

    Beside them stand the target's truth, and below that what the frame model `alone` makes of the target.
    """
    target, files = sample.dataset.video(sample.index)
    numbers = sorted(files)
    place = numbers.index(target)
    window = numbers[max(0, place - REACH) : place + REACH + 1]
    place = window.index(target)
    images = [read_image(files[number], upright=False) for number in window]
    parsings, ids = _streamed(parser, images)
    shown = [max(0, place - APART), place, min(len(window) - 1, place + APART)]
    above = {f"frame {window[n]}": images[n] for n in shown}
    below = {
        f"parsed {window[n]}": viz.overlay(images[n], parsings[n], parser.label_set, person_ids=ids[n]) for n in shown
    }
    above[f"truth {target}"] = viz.overlay(images[place], sample.truth, parser.label_set)
    if alone is not None:
        parsing = next(alone.stream([images[place]]))
        below[f"{target} by the frame model"] = viz.overlay(images[place], parsing, parser.label_set)
    rows = [_beside(list(row.values()), list(row)) for row in (above, below)]
    rows[1] = np.pad(rows[1], ((0, 0), (0, rows[0].shape[1] - rows[1].shape[1]), (0, 0)), constant_values=255)
    return viz.grid(rows, columns=1), parsings[place]


def _streamed(parser: FrameParser, images: list[Picture]) -> tuple[list[Parsing], list[list[int] | None]]:
    """Parse a video, and number its persons so that they keep their colours."""
    parsings, linker = list(parser.stream(images)), PersonLinker()
    ids = [linker.link(masks_of(p["persons"]).numpy()) if "persons" in p else None for p in parsings]
    return parsings, ids


@torch.inference_mode()
def _flow_comparison(task: FlowTask, data: Any) -> Picture:
    """Draw first frame, estimated flow, and true flow where known, in colours of one scale a sample."""
    cells: list[Picture] = []
    for sample in _test_samples(data):
        frames, truth = task.pairs(sample.batch)
        frame = (frames[0, 0].permute(1, 2, 0) * 255).byte().numpy()
        flows = [task.estimate(frames[:1].to(task.device))[0].cpu().numpy()]
        flows += [] if truth is None else [truth[0].numpy()]
        longest = float(np.linalg.norm(flows[-1], axis=0).max())
        cells.append(_beside([frame, *(viz.flow_colors(flow, longest) for flow in flows)]))
    return viz.grid(cells, columns=2)


def _overlay_video(parser: FrameParser, files: list[Path], output: Path) -> None:
    """Write each frame beside its parse, persons in stable colours."""
    images = [read_image(file, upright=False) for file in files]
    with ExitStack() as stack:
        video: VideoWriter | None = None
        for image, parsing, ids in zip(images, *_streamed(parser, images), strict=True):
            shown = _beside([image, viz.overlay(image, parsing, parser.label_set, person_ids=ids)])
            video = video or stack.enter_context(VideoWriter(output, fps=8, size=shown.shape[:2]))
            video.write(shown)


def _beside(pictures: list[Picture], captions: Sequence[str] = ()) -> Picture:
    """Put pictures of one size in a row, at a size that can be looked at, perhaps with captions."""
    drawn = [viz.fit(picture, SHOWN, SHOWN) for picture in pictures]
    return viz.side_by_side(*(map(viz.captioned, drawn, captions) if captions else drawn))
