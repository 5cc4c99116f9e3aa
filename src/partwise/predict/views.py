"""Testing of dense parsers with several scales, the mirror image and sliding windows, as in most parsing papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.nn.dense import ImageParser
from partwise.ops.flip import flip_scores

STEP = 16  # pixels; the networks' input sides are multiples of it


def with_views(
    network: nn.Module, label_set: LabelSet, scales: Sequence[float] = (1.0,), flip: bool = False
) -> nn.Module:
    """Wrap a network in `MultiScale` if more than one view is asked for.

    Args:
        network: the parser.
        label_set: label set whose left and right classes the mirror image exchanges.
        scales: factors on the input's size.
        flip: also parse the mirror image.

    Returns:
        the network, wrapped or unchanged.

    Raises:
        InputError: the network is no dense parser of images, or a scale is not positive.
    """
    if tuple(scales) == (1.0,) and not flip:
        return network
    if not isinstance(network, ImageParser):
        raise InputError(f"{type(network).__name__} is no dense parser: leave testing.views unset")
    return MultiScale(network, label_set, scales, flip)


class SlidingWindows(ImageParser):
    """Parses a canvas larger than the trained input, in windows of the trained size that overlap by half.

    A network trained on whole people in the middle of its input does not find them elsewhere; windows show them at the
    familiar place and size. Probabilities are averaged where windows overlap, as in PSPNet's testing.

    Args:
        network: a dense parser of images.
        window: (height, width) of the trained input in pixels.

    Raises:
        InputError: the network is no dense parser of images.
    """

    def __init__(self, network: nn.Module, window: tuple[int, int]) -> None:
        super().__init__()
        if not isinstance(network, ImageParser):
            raise InputError(f"{type(network).__name__}'s anchors belong to its trained size; leave testing.size unset")
        self.network = network
        self.window = window

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logarithms (B, K, H, W) of the averaged probabilities of images (B, 3, H, W) in [0, 1]."""
        height, width = (min(side, limit) for side, limit in zip(self.window, images.shape[-2:], strict=True))
        total: Tensor | None = None
        count = images.new_zeros(images.shape[-2:])
        for top in _starts(images.shape[-2], height):
            for left in _starts(images.shape[-1], width):
                here = (..., slice(top, top + height), slice(left, left + width))
                probs = self.network.logits(images[here]).float().softmax(1)
                if total is None:
                    total = probs.new_zeros(len(images), probs.shape[1], *images.shape[-2:])
                total[here] += probs
                count[here] += 1
        assert total is not None
        return _log(total / count)


def _starts(side: int, window: int) -> list[int]:
    """Compute the first pixels of windows that cover a side, at most half a window apart."""
    count = 1 + math.ceil((side - window) / (window / 2))
    return [round(i * (side - window) / max(count - 1, 1)) for i in range(count)]


def _log(probs: Tensor) -> Tensor:
    return probs.clamp(min=torch.finfo(torch.float32).tiny).log()


class MultiScale(ImageParser):
    """Averages a dense parser's probabilities over input sizes and over the mirror image.

    Args:
        network: a dense parser of images.
        label_set: label set whose left and right classes the mirror image exchanges.
        scales: factors on the input's size; each side is rounded to a multiple of 16 pixels.
        flip: also parse the mirror image.

    Raises:
        InputError: a scale is not positive, or there is none.
    """

    def __init__(
        self, network: ImageParser, label_set: LabelSet, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise InputError(f"testing.views.scales={list(scales)} must be positive factors, such as [0.75,1.0,1.25]")
        self.network = network
        self.label_set, self.scales, self.flip = label_set, tuple(scales), flip

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logarithms (B, K, H, W) of the averaged probabilities of images (B, 3, H, W) in [0, 1]."""
        views = [self._probs(images, scale) for scale in self.scales]
        if self.flip:
            views += [flip_scores(self._probs(images.flip(-1), scale), self.label_set) for scale in self.scales]
        return _log(torch.stack(views).mean(0))

    def _probs(self, images: Tensor, scale: float) -> Tensor:
        size = images.shape[-2:]
        scaled = tuple(max(STEP, round(side * scale / STEP) * STEP) for side in size)
        if scaled == tuple(size):
            return self.network.logits(images).float().softmax(1)
        resized = F.interpolate(images, scaled, mode="bilinear", align_corners=False, antialias=True)
        probs = self.network.logits(resized).float().softmax(1)
        return F.interpolate(probs, size, mode="bilinear", align_corners=False)
