"""Stacked hourglasses as associative embedding builds them (Newell et al., NIPS 2017): convolutions, no batch norm.

The release's 34 further output maps, which nothing reads, are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4  # of the outputs


class HourglassOutput(NamedTuple):
    """What the stacks compute.

    Attributes:
        maps: (B, maps, H/4, W/4) of each stack.
        feature: (B, C, H/4, W/4) of the first hourglass.
    """

    maps: list[Tensor]
    feature: Tensor


class Hourglass(nn.Module):
    """Convolutions on smaller and smaller scales, whose results are added on the way back.

    Args:
        depth: number of scales below the input's.
        width: channels of the input and the output.
        increase: further channels at every scale below.
    """

    def __init__(self, depth: int, width: int, increase: int) -> None:
        super().__init__()
        inner = width + increase
        self.side = _conv(width, width)
        self.down = _conv(width, inner)
        self.inner: nn.Module = Hourglass(depth - 1, inner, increase) if depth > 1 else _conv(inner, inner)
        self.up = _conv(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, width, h, w) from the same; sides are multiples of 2 ** depth."""
        low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.side(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class StackedHourglass(nn.Module):
    """Hourglasses one after the other, each with outputs of its own that the next one sees.

    Args:
        maps: number of output maps.
        stacks: number of hourglasses.
        depth: scales of each.
        width: channels at stride 4.
        increase: further channels at every scale below.
    """

    def __init__(self, maps: int, stacks: int = 4, depth: int = 4, width: int = 256, increase: int = 128) -> None:
        super().__init__()
        self.multiple = STRIDE * 2**depth  # that the sides of images are multiples of
        self.stem = nn.Sequential(
            _conv(3, width // 4, 7, 2), _conv(width // 4, width // 2), nn.MaxPool2d(2),
            _conv(width // 2, width // 2), _conv(width // 2, width),
        )  # fmt: skip
        self.hourglasses = nn.ModuleList(Hourglass(depth, width, increase) for _ in range(stacks))
        self.heads = nn.ModuleList(nn.Sequential(_conv(width, width), _conv(width, width)) for _ in range(stacks))
        self.outputs = nn.ModuleList(nn.Conv2d(width, maps, 1) for _ in range(stacks))
        self.back = nn.ModuleList(nn.Conv2d(maps, width, 1) for _ in range(stacks - 1))
        self.on = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> HourglassOutput:
        """Compute the maps of images (B, 3, H, W), whose sides are multiples of `multiple`."""
        x = self.stem(images)
        maps: list[Tensor] = []
        features: list[Tensor] = []
        for n, (hourglass, head, output) in enumerate(zip(self.hourglasses, self.heads, self.outputs, strict=True)):
            features.append(hourglass(x))
            seen = head(features[-1])
            maps.append(output(seen))
            if n < len(self.back):
                x = x + self.back[n](maps[-1]) + self.on[n](seen)
        return HourglassOutput(maps, features[0])


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2), nn.ReLU(inplace=True))
