"""Augmentation that treats all frames of a clip alike, keeps left and right apart, and letterboxing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its start-up check calls home

import albumentations as A
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partwise.labels import IGNORE, LabelSet
from partwise.ops.flip import hflip
from partwise.ops.resize import Letterbox


class ClipTransform:
    """Frames and target labels at native size -> a letterboxed, perhaps flipped clip of tensors.

    One draw of each random transform serves all frames; it follows from the seed given with the clip.

    Args:
        size: side of the square canvas in pixels, or its (height, width).
        label_set: whose left/right pairs a flip exchanges.
        flip: probability of a horizontal flip.
        augment: further albumentations transforms, applied before letterboxing; never a flip, which would
            leave left and right where they were.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        label_set: LabelSet,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
    ) -> None:
        if any(isinstance(t, A.HorizontalFlip | A.D4 | A.Transpose) for t in augment):
            raise ValueError("flips exchange left and right labels: use `flip`, not an albumentations flip")
        self.size, self.label_set, self.flip = size, label_set, flip
        self.augment = A.Compose(list(augment), p=1.0) if augment else None

    def __call__(
        self,
        frames: Sequence[npt.NDArray[np.uint8]],
        parts: npt.NDArray[np.uint8],
        instances: npt.NDArray[np.int32] | None = None,
        *,
        seed: Sequence[int] | None = None,
    ) -> dict[str, Tensor]:
        """Transform one clip.

        Args:
            frames: T arrays (H, W, 3) uint8 RGB of one size.
            parts: (H, W) ids of the target frame.
            instances: (H, W) person ids of the target frame.
            seed: of this clip's randomness; None does no augmentation at all (evaluation).

        Returns:
            frames (T, 3, *size) uint8, parts (*size) int64 with 255 in the padding, instances (*size) int64.
        """
        masks: list[npt.NDArray[Any]] = [parts, *([] if instances is None else [instances])]
        rng = None if seed is None else np.random.default_rng(list(seed))
        if rng is not None and self.augment is not None:
            frames, masks = self._augmented(frames, masks, int(rng.integers(2**31)))
        box = Letterbox.fit(frames[0].shape[:2], self.size)
        clip: dict[str, Tensor] = {
            "frames": torch.stack([box.place(frame).permute(2, 0, 1) for frame in frames]),
            "parts": box.place(masks[0], labels=True, fill=IGNORE).long(),
        }
        if instances is not None:
            clip["instances"] = box.place(masks[1], labels=True).long()
        if rng is not None and rng.random() < self.flip:
            clip = hflip(clip, self.label_set)
        return clip

    def _augmented(self, frames: Sequence[Any], masks: list[Any], seed: int) -> tuple[list[Any], list[Any]]:
        assert self.augment is not None
        self.augment.set_random_seed(seed)  # albumentations ignores numpy's and python's seeds
        out = self.augment(images=np.stack(frames), masks=masks)
        return list(out["images"]), list(out["masks"])
