"""What dense parsers share: from the scores of every pixel to losses, parsings and parsed videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from partwise.batches import ImageBatch, Parsing
from partwise.nn.losses import parsing_loss
from partwise.ops.resize import Letterbox

AT_ONCE = 4  # frames of a video that a parser of single images takes together


class DenseParser(nn.Module, ABC):
    """A parser that gives every class a score at every pixel. Subclasses define `scores` and `stream_scores`."""

    @abstractmethod
    def scores(self, batch: Any) -> Tensor:
        """Score the B samples of a batch: (B, K, H, W) logits on the canvas."""

    @abstractmethod
    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Score the frames (1, 3, H, W) of a video in order: (n, K, H, W) logits of the next n frames each time."""

    def parse(self, batch: Any, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse a batch's samples at their native size; see `partwise.models.contract`."""
        return most_probable(self.scores(batch).float().softmax(1), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video; see `partwise.models.contract`."""
        for scores in self.stream_scores(frames):
            yield from most_probable(scores.float().softmax(1), [letterbox] * len(scores))


class ImageParser(DenseParser):
    """A dense parser of single images. Subclasses define `logits`."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1]: (B, K, H, W)."""

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy of a batch's images."""
        return {"parsing": parsing_loss(self.logits(batch["images"]), batch["parts"])}

    def scores(self, batch: ImageBatch) -> Tensor:
        """Score a batch's images; see `logits`."""
        return self.logits(batch["images"])

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Score the frames of a video, each by itself, `AT_ONCE` together."""
        return map(self.logits, at_once(frames))


def at_once(frames: Iterable[Tensor], count: int = AT_ONCE) -> Iterator[Tensor]:
    """Join frames (1, 3, H, W) to batches (n, 3, H, W) of `count`; the last may be smaller."""
    source = iter(frames)
    while waiting := list(islice(source, count)):
        yield torch.cat(waiting)


def most_probable(probs: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
    """Return the best class of every pixel at each image's native size, of probabilities (B, C, H, W) on the canvas."""
    pairs = zip(probs, letterboxes, strict=True)
    return [Parsing(parts=letterbox.restore(p[None])[0].argmax(0)) for p, letterbox in pairs]
