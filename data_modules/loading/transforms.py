"""Augment all frames of a clip alike, exchange left and right in flips, and letterbox."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its start-up check calls home

import albumentations as A
import numpy as np
import torch
from torch import Tensor

from partwise.arrays import Float32Array, Int32Array, UInt8Array
from partwise.errors import InputError
from partwise.labels import IGNORE, LabelSet
from partwise.ops.flip import COCO_KEYPOINT_PAIRS, hflip
from partwise.ops.resize import Letterbox


class Labels(TypedDict):
    """Labels that a reader has of a picture at its native size."""

    parts: NotRequired[UInt8Array]  # (H, W), 255 = ignored
    persons: NotRequired[Int32Array]  # (H, W), 0 = nobody
    keypoints: NotRequired[Float32Array]  # (N, K, 3) x, y in pixels, visibility 0, 1 or 2


class ClipTransform:
    """Turns frames and target labels at native size into a letterboxed, perhaps flipped clip of tensors.

    One draw of each random transform serves all frames; it follows from the seed given with the clip.

    Args:
        size: side of the square canvas in pixels, or its (height, width).
        label_set: classes whose left/right pairs a flip exchanges.
        flip: probability of a horizontal flip, 0..1.
        augment: further albumentations transforms, applied before letterboxing; never a flip, which would
            leave left and right where they were.
        keypoint_pairs: (left, right) rows of the keypoints, which a flip exchanges.
        stretch: whether frames fill the canvas and give up the aspect, instead of being padded.

    Raises:
        InputError: `augment` has a flip.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        label_set: LabelSet,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        keypoint_pairs: Sequence[tuple[int, int]] = COCO_KEYPOINT_PAIRS,
        stretch: bool = False,
    ) -> None:
        if any(isinstance(t, A.HorizontalFlip | A.D4 | A.Transpose) for t in augment):
            raise InputError("data.augment has a flip, which would leave left and right labels; set data.flip instead")
        self.size, self.label_set, self.flip, self.keypoint_pairs = size, label_set, flip, keypoint_pairs
        self.place = Letterbox.stretch if stretch else Letterbox.fit
        points = A.KeypointParams("xy", remove_invisible=False)
        self.augment = A.Compose(list(augment), keypoint_params=points) if augment else None

    def __call__(
        self, frames: Sequence[UInt8Array], labels: Labels, *, seed: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Transform one clip.

        Args:
            frames: T arrays (H, W, 3) uint8 RGB of one size.
            labels: of the target frame, of the same size.
            seed: of this clip's randomness; None does no augmentation at all (evaluation).

        Returns:
            frames (T, 3, *size) uint8 and, where there are labels for them, parts (*size) int64 with 255 in the
            padding, instances (*size) int64 and keypoints (N, K, 3) float32, invisible (0, 0, 0) off the canvas.
        """
        rng = None if seed is None else np.random.default_rng(list(seed))
        if rng is not None and self.augment is not None:
            frames, labels = self._augmented(frames, labels, int(rng.integers(2**31)))
        box = self.place(frames[0].shape[:2], self.size)
        clip = {"frames": torch.stack([box.place(frame).permute(2, 0, 1) for frame in frames])}
        if "parts" in labels:
            clip["parts"] = box.place(labels["parts"], labels=True, fill=IGNORE)
        if "persons" in labels:
            clip["instances"] = box.place(labels["persons"], labels=True)
        if "keypoints" in labels:
            clip["keypoints"] = _on_canvas(labels["keypoints"], box)
        if rng is not None and rng.random() < self.flip:
            clip = hflip(clip, self.label_set, self.keypoint_pairs)
        # Last: flips of single bytes are faster.
        return clip | {name: clip[name].long() for name in ("parts", "instances") if name in clip}

    def _augmented(self, frames: Sequence[Any], labels: Labels, seed: int) -> tuple[list[Any], Labels]:
        assert self.augment is not None
        self.augment.set_random_seed(seed)  # albumentations ignores numpy's and python's seeds
        names = [name for name in ("parts", "persons") if name in labels]
        # albumentations goes a longer way with several images, and with keypoints even if there are none.
        given: dict[str, Any] = {"images": np.stack(frames)} if len(frames) > 1 else {"image": frames[0]}
        if names:
            given["masks"] = [labels[name] for name in names]
        if "keypoints" in labels:
            given["keypoints"] = labels["keypoints"][..., :2].reshape(-1, 2)
        out = self.augment(**given)
        moved: Labels = {}
        if names:
            moved |= zip(names, out["masks"], strict=True)  # type: ignore[typeddict-item]
        if "persons" in moved:  # beyond the picture is 255, as parts are ignored there; it is nobody
            moved["persons"] = np.where(moved["persons"] > labels["persons"].max(initial=0), 0, moved["persons"])
        if "keypoints" in labels:
            points = labels["keypoints"]
            places = np.asarray(out["keypoints"], np.float32).reshape(*points.shape[:2], 2)
            moved["keypoints"] = np.concatenate([places, points[..., 2:]], -1)
        return list(out["images"]) if len(frames) > 1 else [out["image"]], moved


def _on_canvas(keypoints: Float32Array, box: Letterbox) -> Tensor:
    """Keypoints (N, K, 3) on the canvas; (0, 0, 0) for what is not annotated or off it."""
    placed = torch.from_numpy(keypoints).float().clone()
    placed[..., :2] = box.place_points(placed[..., :2])
    height, width = box.canvas
    x, y, visibility = placed.unbind(-1)
    gone = (visibility <= 0) | (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    return placed.masked_fill(gone[..., None], 0.0)
