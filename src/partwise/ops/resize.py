"""Letterboxing: fit an image into a canvas, centred, and map results back to the image's own pixels."""

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
    """The place of an image on its canvas: `[top, top + height) x [left, left + width)` in canvas pixels.

    Attributes:
        canvas: (height, width) of the canvas in pixels.
        top: first row.
        left: first column.
        height: rows of the resized image.
        width: columns of the resized image.
        native: (height, width) of the image before resizing.
    """

    canvas: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    native: tuple[int, int]

    @classmethod
    def fit(cls, native: tuple[int, int], canvas: int | Sequence[int]) -> Letterbox:
        """Place an image as large as fits, centred, keeping its aspect ratio.

        Args:
            native: (height, width) of the image.
            canvas: side of the square canvas in pixels, or its (height, width).

        Returns:
            the image's place.
        """
        tall, wide = canvas_size(canvas)
        scale = min(tall / native[0], wide / native[1])
        height, width = (max(1, round(side * scale)) for side in native)
        return cls((tall, wide), (tall - height) // 2, (wide - width) // 2, height, width, native)

    @classmethod
    def stretch(cls, native: tuple[int, int], canvas: int | Sequence[int]) -> Letterbox:
        """Stretch an image over the whole canvas, without padding; its aspect ratio is not kept.

        Args:
            native: (height, width) of the image.
            canvas: side of the square canvas in pixels, or its (height, width).

        Returns:
            the image's place.
        """
        height, width = canvas_size(canvas)
        return cls((height, width), 0, 0, height, width, native)

    @classmethod
    def make(cls, native: tuple[int, int], canvas: int | Sequence[int], stretch: bool = False) -> Letterbox:
        """Place an image by `stretch` or `fit`.

        Args:
            native: (height, width) of the image.
            canvas: side of the square canvas in pixels, or its (height, width).
            stretch: fill the canvas; otherwise keep the aspect ratio.

        Returns:
            the image's place.
        """
        return cls.stretch(native, canvas) if stretch else cls.fit(native, canvas)

    def place(self, x: AnyArray, *, labels: bool = False, fill: int = 0) -> Tensor:
        """Resize an image or a label map and pad it to the canvas.

        Args:
            x: (H, W) or (H, W, C) array of the native size.
            labels: take the nearest pixel instead of interpolating.
            fill: value of the padding.

        Returns:
            (*canvas) or (*canvas, C) tensor of x's type.
        """
        placed = np.full((*self.canvas, *x.shape[2:]), fill, x.dtype)
        window = placed[self.top : self.top + self.height, self.left : self.left + self.width]
        if x.shape[:2] == (self.height, self.width):
            window[:] = x
        elif labels:
            window[:] = cv2.resize(x, (self.width, self.height), interpolation=cv2.INTER_NEAREST)
        else:
            whole = int(min(x.shape[0] / self.height, x.shape[1] / self.width))
            if whole > 1:  # bilinear alone would skip pixels; INTER_AREA is fast for integer factors
                smaller = round(x.shape[1] / whole), round(x.shape[0] / whole)
                x = cv2.resize(x, smaller, interpolation=cv2.INTER_AREA)
            window[:] = cv2.resize(x, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(placed)

    def place_points(self, points: Tensor) -> Tensor:
        """Map points (..., 2) x, y from the native image to the canvas; pixel centres are integers in both."""
        return (points + 0.5) * self._scale(points) + self._corner(points) - 0.5

    def restore_points(self, points: Tensor) -> Tensor:
        """Map points (..., 2) x, y from the canvas to the native image; pixel centres are integers in both."""
        return (points + 0.5 - self._corner(points)) / self._scale(points) - 0.5

    def crop(self, x: Tensor) -> Tensor:
        """Remove the padding of x (..., *canvas): (..., height, width)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def restore(self, x: Tensor) -> Tensor:
        """Resize scores (B, C, *canvas) to the image's native size (B, C, H, W), bilinearly and without the padding."""
        x = self.crop(x)
        if self.native == (self.height, self.width):
            return x
        return F.interpolate(x, self.native, mode="bilinear", align_corners=False)

    def restore_boxes(self, boxes: Tensor) -> Tensor:
        """Map boxes (N, 4) xyxy from the canvas to the native image and clip them to it."""
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
    """Return the (height, width) of a canvas given as the side of a square or as (height, width), in pixels."""
    if isinstance(canvas, int):
        return canvas, canvas
    height, width = canvas
    return int(height), int(width)
