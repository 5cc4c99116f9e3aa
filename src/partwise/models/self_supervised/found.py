"""What the loop's modules find in the middle frame of a window, and what the refinements make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from partwise.models.self_supervised.tpr import Corrected
from partwise.ops.resize import Letterbox


class Foreground(NamedTuple):
    """Logits of the Seg Module."""

    logits: Tensor  # (2, H, W) refined by TPR; without it, as they were
    own: Tensor  # (2, H, W) as they were
    flow: Tensor | None = None  # (2, H, W) to the next frame as estimated, pixels
    corrected: Corrected | None = None  # the same by the masks, without the dimension of the batch

    def inside(self, canvas: Letterbox) -> Foreground:
        """Return the same on the pixels of the picture alone."""
        return Foreground(
            canvas.crop(self.logits),
            canvas.crop(self.own),
            None if self.flow is None else canvas.crop(self.flow),
            None if self.corrected is None else Corrected(*map(canvas.crop, self.corrected)),
        )


class Pose(NamedTuple):
    """Poses, pixels and score, of whom GBSR found: those of the Pose Module in order, then inserted persons."""

    poses: Tensor  # (N, 17, 3) refined by GBSR; without it, as they were
    scores: Tensor  # (N,)
    supervises: Tensor  # (N, 17) bool
    own: Sequence[Tensor]  # (n, 17, 3) as they were, of the frame before, the middle one and the one after
    visible: Tensor | None = None  # (N, 17) in [0, 1], GBSR's visibility of the joints as they were
    replaced: Tensor | None = None  # (N, 17) bool, joints that GBSR moved or added

    def inside(self, canvas: Letterbox) -> Pose:
        """Return the same in pixels of the picture."""
        corner = self.poses.new_tensor([canvas.left, canvas.top, 0])
        return self._replace(poses=self.poses - corner, own=[poses - corner for poses in self.own])


class Found(NamedTuple):
    """All that labels of a window are made of; None is what their kind does without."""

    foreground: Foreground | None
    pose: Pose | None
    persons: Tensor | None  # (N, 2, H, W) logits of Eq. 10

    def inside(self, canvas: Letterbox) -> Found:
        """Return the same on the pixels of the picture alone, without its canvas' margin."""
        return Found(
            None if self.foreground is None else self.foreground.inside(canvas),
            None if self.pose is None else self.pose.inside(canvas),
            None if self.persons is None else canvas.crop(self.persons),
        )
