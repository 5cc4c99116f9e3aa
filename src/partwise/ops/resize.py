"""Letterboxing: fit an image into a canvas, centred, and take results back to the image's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.arrays import AnyArray


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies on its canvas: `[top, top + height) x [left, left + width)` canvas pixels.

    Attributes:
        canvas: (height, width) of the canvas.
        top: first row.
        left: first column.
        height: rows of the resized image.
        width: columns of the resized image.
        native: (height, width) of the image before.
    """

    canvas: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    native: tuple[int, int]

    @classmethod
    def fit(cls, native: tuple[int, int], canvas: int | Sequence[int]) -> Letterbox:
        """As large as it fits, the rest is centred; `canvas` is a square's side or (height, width)."""
        tall, wide = canvas_size(canvas)
        scale = min(tall / native[0], wide / native[1])
        height, width = (max(1, round(side * scale)) for side in native)
        return cls((tall, wide), (tall - height) // 2, (wide - width) // 2, height, width, native)

    @classmethod
    def stretch(cls, native: tuple[int, int], canvas: int | Sequence[int]) -> Letterbox:
        """The whole canvas without padding; the image's aspect is not kept."""
        height, width = canvas_size(canvas)
        return cls((height, width), 0, 0, height, width, native)

    @classmethod
    def make(cls, native: tuple[int, int], canvas: int | Sequence[int], stretch: bool = False) -> Letterbox:
        """`stretch`, or else `fit`."""
        return cls.stretch(native, canvas) if stretch else cls.fit(native, canvas)

    def place(self, x: AnyArray, *, labels: bool = False, fill: int = 0) -> Tensor:
        """Resize an image or a label map and pad it to the canvas.

        Args:
            x: (H, W) or (H, W, C) array of the native size.
            labels: take the nearest pixel instead of mixing pixels.
            fill: value of the padding.

        Returns:
            (*canvas) or (*canvas, C) tensor of x's dtype.
        """
        placed = np.full((*self.canvas, *x.shape[2:]), fill, x.dtype)
        window = placed[self.top : self.top + self.height, self.left : self.left + self.width]
        if x.shape[:2] == (self.height, self.width):
            window[:] = x
        elif labels:
            window[:] = cv2.resize(x, (self.width, self.height), interpolation=cv2.INTER_NEAREST)
        else:
            whole = int(min(x.shape[0] / self.height, x.shape[1] / self.width))
            if whole > 1:  # bilinear alone skips pixels here; averaging by a whole factor is the fast case of area
                smaller = round(x.shape[1] / whole), round(x.shape[0] / whole)
                x = cv2.resize(x, smaller, interpolation=cv2.INTER_AREA)
            window[:] = cv2.resize(x, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(placed)

    def place_points(self, points: Tensor) -> Tensor:
        """(..., 2) x, y of the native image -> of the canvas; pixel centres are integers in both."""
        return (points + 0.5) * self._scale(points) + self._corner(points) - 0.5

    def restore_points(self, points: Tensor) -> Tensor:
        """(..., 2) x, y of the canvas -> of the native image."""
        return (points + 0.5 - self._corner(points)) / self._scale(points) - 0.5

    def crop(self, x: Tensor) -> Tensor:
        """Cut the padding off (..., *canvas)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def restore(self, x: Tensor) -> Tensor:
        """(B, C, *canvas) scores -> (B, C, H, W) at the image's own size, bilinearly."""
        x = self.crop(x)
        if self.native == (self.height, self.width):
            return x
        return F.interpolate(x, self.native, mode="bilinear", align_corners=False)

    def restore_boxes(self, boxes: Tensor) -> Tensor:
        """(N, 4) xyxy on the canvas -> xyxy in the image, clipped to it."""
        height, width = self.native
        offset = boxes.new_tensor([self.left, self.top] * 2)
        scale = boxes.new_tensor([width / self.width, height / self.height] * 2)
        limit = boxes.new_tensor([width, height] * 2)
        return ((boxes - offset) * scale).clamp(min=0).minimum(limit)

    def _scale(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.width / self.native[1], self.height / self.native[0]])

    def _corner(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left, self.top])


def canvas_size(canvas: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a canvas given by a square's side or by both."""
    if isinstance(canvas, int):
        return canvas, canvas
    height, width = canvas
    return int(height), int(width)
