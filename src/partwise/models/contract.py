"""The contract between networks and what uses them: tasks, parsers of videos, checkpoints.

A network fulfils it by having the methods; it inherits nothing. Shared implementations are in `partwise.nn.dense`
(dense parsers), `partwise.nn.parsing_rcnn` (networks with Parsing R-CNN's heads) and `partwise.nn.flownet` (flow
networks). Abilities that only some networks have are protocols of their own, or base classes in those modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from partwise.batches import FlowBatch, Parsing
from partwise.ops.resize import Letterbox

#: `ImageBatch`, `ClipBatch`, or both.
Batch = TypeVar("Batch", contravariant=True)


@runtime_checkable
class Network(Protocol[Batch]):
    """A trainable parser of people: a `torch.nn.Module` with these methods."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the training losses of a batch.

        Args:
            batch: pictures float32 in [0, 1], with the labels that the network learns from.

        Returns:
            losses () by name; training minimises their sum.

        Raises:
            InputError: the network cannot learn from these data.
        """
        ...

    def parse(self, batch: Batch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse a batch's pictures, or the last frames of its clips.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B pictures lies on the canvas.

        Returns:
            B parsings at the pictures' native sizes.
        """
        ...

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Returns:
            one parsing per frame at its native size, in order. A network may read a fixed number of frames ahead.
        """
        ...


class Memory(Protocol):
    """What a network remembers of one person."""

    def add(self, image: Tensor) -> Tensor:
        """Compute the logits of the person's next frame and remember the frame.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].

        Returns:
            (1, K, H, W).
        """
        ...


@runtime_checkable
class OnFrames(Protocol):
    """A parser of videos on a frame-level model, which it can be compared with."""

    def frame_model(self) -> nn.Module:
        """Return the frame-level model, which shares its weights."""
        ...


@runtime_checkable
class FollowsPersons(Protocol):
    """A network on crops of single persons, several of whom are parsed in parallel."""

    def memory(self) -> Memory:
        """Create an empty memory for one person."""
        ...


@runtime_checkable
class FromPoses(Protocol):
    """A network that segments persons whose poses are known, whoever estimated them."""

    def from_poses(
        self, images: Tensor, poses: Sequence[tuple[Tensor, Tensor]], letterboxes: Sequence[Letterbox]
    ) -> list[Parsing]:
        """Segment the persons of images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            poses: of each image, (N, 17, 3) x, y in pixels of the canvas and a visibility or score, 0 = missing; and
                scores (N,) of the poses.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes, with one mask a pose, in the poses' order; they may overlap.
        """
        ...


class FlowNetwork(Protocol):
    """A network that estimates optical flow, such as a `partwise.nn.flownet.FlowEstimator`."""

    def losses(self, batch: FlowBatch) -> dict[str, Tensor]:
        """Compute the training losses () of a batch by name."""
        ...

    def estimate(self, frames: Tensor) -> Tensor:
        """Estimate the flow (B, 2, H, W) in pixels from the first to the second of frames (B, 2, 3, H, W) in [0, 1]."""
        ...
