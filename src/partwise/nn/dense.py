"""Base classes of dense parsers: from scores of every pixel to losses, parsings and parsed videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from partwise.batches import ClipBatch, ImageBatch, Parsing
from partwise.nn.losses import parsing_loss
from partwise.ops.resize import Letterbox

Batch = TypeVar("Batch", ImageBatch, ClipBatch, ImageBatch | ClipBatch)

AT_ONCE = 4  # frames of a video that a parser of single images processes together


class DenseParser(nn.Module, ABC, Generic[Batch]):
    """A parser that scores every class at every pixel. Subclasses define `scores` and `stream_scores`."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """Compute logits (B, K, H, W) on the canvas for the B samples of a batch."""

    @abstractmethod
    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the logits of a video, frame by frame or some frames together.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (n, K, H, W) logits of the next n frames.
        """

    def parse(self, batch: Batch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse the samples of a batch.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B pictures lies on the canvas.

        Returns:
            B parsings at the pictures' native sizes.
        """
        return most_probable(self.scores(batch).float().softmax(1), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Yields:
            one parsing per frame at its native size, in order.
        """
        for scores in self.stream_scores(frames):
            yield from most_probable(scores.float().softmax(1), [letterbox] * len(scores))


class ImageParser(DenseParser[ImageBatch]):
    """A dense parser of single images. Subclasses define `logits`."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, K, H, W) of images (B, 3, H, W) RGB in [0, 1]."""

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of a batch's images, by name; label 255 is ignored."""
        return {"parsing": parsing_loss(self.logits(batch["images"]), batch["parts"])}

    def scores(self, batch: ImageBatch) -> Tensor:
        """Compute logits (B, K, H, W) of a batch's images."""
        return self.logits(batch["images"])

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the logits of a video, `AT_ONCE` frames together, each independent of the others.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (n, K, H, W) logits of the next n frames.
        """
        return map(self.logits, at_once(frames))


def at_once(frames: Iterable[Tensor], count: int = AT_ONCE) -> Iterator[Tensor]:
    """Join the frames of a video into batches.

    Args:
        frames: (1, 3, H, W) each.
        count: frames per batch.

    Yields:
        (n, 3, H, W) with n = `count`; the last batch may be smaller.
    """
    source = iter(frames)
    while waiting := list(islice(source, count)):
        yield torch.cat(waiting)


def stream_images(network: Any, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
    """Parse a video with a network of single images, some frames together, each independent of the others.

    Args:
        network: parses an `ImageBatch`.
        frames: (1, 3, H, W) each, float32 in [0, 1], in order.
        letterbox: how the frames lie on the canvas.

    Yields:
        one parsing per frame at its native size, in order.
    """
    for images in at_once(frames):
        yield from network.parse(ImageBatch(images=images, index=[], sample_ids=[]), [letterbox] * len(images))


def most_probable(probs: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
    """Take the most probable class of every pixel at native size.

    Args:
        probs: (B, C, H, W) probabilities on the canvas.
        letterboxes: how each of the B pictures lies on the canvas.

    Returns:
        B parsings with `parts` alone.
    """
    pairs = zip(probs, letterboxes, strict=True)
    return [Parsing(parts=letterbox.restore(p[None])[0].argmax(0)) for p, letterbox in pairs]
