"""The contract between networks and what uses them: tasks, parsers of videos, checkpoints.

A network keeps it by having the methods; it inherits nothing. What dense parsers share is in `partwise.nn.dense`, what
networks with Parsing R-CNN's heads share in `partwise.nn.parsing_rcnn`, what flow networks share in
`partwise.nn.flownet`. What only some networks can do is a protocol of its own, or a base class in those modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from partwise.batches import FlowBatch, Parsing
from partwise.ops.resize import Letterbox

#: `ImageBatch`, `ClipBatch`, or both.
Batch = TypeVar("Batch", contravariant=True)


@runtime_checkable
class Network(Protocol[Batch]):
    """A parser of people that can be trained: a `torch.nn.Module` with these methods."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the training losses of a batch.

        Args:
            batch: pictures float32 in [0, 1], with what the network learns from.

        Returns:
            losses () by name; training minimises their sum.
        """
        ...

    def parse(self, batch: Batch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse a batch's pictures, or the last frames of its clips.

        Args:
            batch: of B samples.
            letterboxes: how each of the B pictures lies on the canvas.

        Returns:
            B parsings at the pictures' native sizes.
        """
        ...

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video, in constant memory.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Returns:
            one parsing a frame at its native size, in order. A network may read a fixed number of frames ahead.
        """
        ...


class Memory(Protocol):
    """What a network remembers of one person."""

    def add(self, image: Tensor) -> Tensor:
        """Return the scores (1, K, H, W) of the next frame (1, 3, H, W) of the person."""
        ...


@runtime_checkable
class FollowsPersons(Protocol):
    """A network on crops of single persons, several of whom are parsed beside each other."""

    def memory(self) -> Memory:
        """Return an empty memory, for one person."""
        ...


class FlowNetwork(Protocol):
    """A network that estimates optical flow; see `partwise.nn.flownet.FlowEstimator`."""

    def losses(self, batch: FlowBatch) -> dict[str, Tensor]:
        """Compute the training losses () of a batch, by name."""
        ...

    def estimate(self, frames: Tensor) -> Tensor:
        """Estimate the flow (B, 2, H, W) in pixels from the first to the second of frames (B, 2, 3, H, W)."""
        ...
