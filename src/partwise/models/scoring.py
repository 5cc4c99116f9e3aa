"""From batches of annotated samples or of whole videos to the arguments of a metric's `update`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from partwise.batches import Annotation, ClipBatch, ImageBatch, Parsing, pictures
from partwise.models.contract import Network
from partwise.ops.resize import Letterbox

LONGEST_VIDEO = 1_000_000  # frames; keeps the frame indices of different videos distinct


class Scored(NamedTuple):
    """Arguments of a metric's `update` for n samples.

    Attributes:
        indices: positions of the samples in their split.
        preds: their parsings.
        target: their ground truth.
        sample_ids: their names.
    """

    indices: Sequence[int]
    preds: Sequence[Parsing]
    target: Sequence[Annotation]
    sample_ids: Sequence[str]


def parse_annotated(network: Network[Any], batch: Mapping[str, Any], stretch: bool) -> Iterator[Scored]:
    """Parse a batch of the validation or test split.

    Args:
        network: network to score.
        batch: an `ImageBatch` or `ClipBatch` with annotations; or whole videos, with frames (T, 3, H, W) and a list of
            annotations each.
        stretch: pictures fill the canvas; otherwise they keep their aspect ratio.

    Yields:
        all samples of a batch together, or each frame of its videos by itself.
    """
    if batch["annotations"] and isinstance(batch["annotations"][0], list):
        for video in zip(batch["index"], batch["frames"], batch["annotations"], batch["sample_ids"], strict=True):
            yield from _parse_video(network, stretch, *video)
    else:
        parsings = network.parse(batch, letterboxes(batch, stretch))
        yield Scored(batch["index"], parsings, batch["annotations"], batch["sample_ids"])


def letterboxes(batch: Any, stretch: bool = False) -> list[Letterbox]:
    """Compute how each annotated picture of a batch lies on the canvas.

    Args:
        batch: an `ImageBatch` or `ClipBatch` with annotations.
        stretch: pictures fill the canvas; otherwise they keep their aspect ratio.

    Returns:
        one letterbox per picture.
    """
    annotated: ImageBatch | ClipBatch = batch
    height, width = pictures(annotated).shape[-2:]
    return [Letterbox.make(_size(a), (height, width), stretch) for a in annotated["annotations"]]


def _parse_video(
    network: Network[Any], stretch: bool, index: int, frames: Any, truths: Sequence[Annotation], name: str
) -> Iterator[Scored]:
    letterbox = Letterbox.make(_size(truths[0]), (frames.shape[-2], frames.shape[-1]), stretch)
    parsings = network.stream((frame[None] for frame in frames), letterbox)
    for t, (parsing, truth) in enumerate(zip(parsings, truths, strict=True)):
        yield Scored([index * LONGEST_VIDEO + t], [parsing], [truth], [f"{name}/{t:05d}"])


def _size(annotation: Annotation) -> tuple[int, int]:
    height, width = annotation["parts"].shape
    return height, width
