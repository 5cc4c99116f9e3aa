"""Temporal smoothing of a single-frame parser on video: the last frame's probabilities are warped by optical flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from partwise.arrays import Picture, UInt8Array
from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.nn.dense import ImageParser, at_once, most_probable
from partwise.ops.dis import dense_inverse_search
from partwise.ops.flow import consistency_mask, warp
from partwise.ops.resize import Letterbox


class FlowSmoother:
    """Mixes each frame's probabilities with the warped mix of the frames before it.

    Mixes only where forward and backward flow are consistent: newly visible pixels are judged by their own frame alone.
    The flow is OpenCV's DIS (Kroeger et al., ECCV 2016).

    Args:
        weight: weight of the earlier frames, 0 (none) to below 1.

    Raises:
        InputError: the weight is out of range.
    """

    def __init__(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise InputError(
                f"testing.smoothing={weight} must be in 0..1, 1 excluded; 0.5 halves the flicker, 0 is off"
            )
        self.weight = weight
        self._past: tuple[UInt8Array, Tensor] | None = None

    def __call__(self, frame: Picture, probs: Tensor) -> Tensor:
        """Smooth one frame.

        Args:
            frame: (H, W, 3) uint8 RGB on the canvas.
            probs: (C, H, W) its probabilities.

        Returns:
            (C, H, W) smoothed probabilities.
        """
        grey: UInt8Array = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
        if self._past is not None and self._past[0].shape == grey.shape:
            before, past = self._past
            forward, backward = (
                dense_inverse_search(a, b, "fast")[None].to(probs.device) for a, b in ((grey, before), (before, grey))
            )
            share = self.weight * consistency_mask(forward, backward).float()
            probs = ((1 - share) * probs + share * warp(past[None], forward, "border"))[0]
        self._past = (grey, probs)
        return probs


class Smoothed(ImageParser):
    """A dense parser of images whose probabilities are smoothed over the frames of a video.

    Args:
        network: the parser.
        weight: weight of the earlier frames, 0 (none) to below 1.

    Raises:
        InputError: the network is another kind of parser.
    """

    def __init__(self, network: nn.Module, weight: float) -> None:
        super().__init__()
        if not isinstance(network, ImageParser):
            raise InputError(f"{type(network).__name__} is no dense parser: leave testing.smoothing at 0")
        self.network, self.weight = network, weight

    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, K, H, W) of images (B, 3, H, W) in [0, 1], each by itself."""
        return self.network.logits(images)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory, with smoothing.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Yields:
            one parsing per frame at its native size, in order.

        Raises:
            InputError: the weight is out of range.
        """
        smoother = FlowSmoother(self.weight)
        for images in at_once(frames):
            probs = self.logits(images).float().softmax(1)
            pictures = (255 * images).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
            smooth = [smoother(picture, p) for picture, p in zip(pictures, probs, strict=True)]
            yield from most_probable(torch.stack(smooth), [letterbox] * len(smooth))
