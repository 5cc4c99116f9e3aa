"""Stacked hourglasses as associative embedding has them (Newell et al., NIPS 2017, arXiv:1611.05424).

This is the release: no batch norm, one 3x3 convolution where Newell et al., ECCV 2016, have a residual block, and
features that widen as they shrink. A pose network has four maps a joint there, of which two are never used; those are
left out here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.nn.layers import conv_relu, near_zero

STRIDE = 4  # of the maps


class Hourglasses(NamedTuple):
    """What stacked hourglasses compute of B images of H x W pixels.

    Attributes:
        maps: (B, S, C, H/4, W/4), the prediction of each of the S hourglasses.
        stem: (B, F, H/4, W/4), the feature that the first hourglass reads.
        first: (B, F, H/4, W/4), the feature that its prediction is made of.
    """

    maps: Tensor
    stem: Tensor
    first: Tensor


class Hourglass(nn.Module):
    """A feature, and the same `depth` times pooled and widened, added up again at every scale.

    Args:
        channels: channels of input and output.
        depth: number of scales below the input's.
        increase: channels that are added at each of them.
    """

    def __init__(self, channels: int, depth: int = 4, increase: int = 128) -> None:
        super().__init__()
        wider = channels + increase
        self.skip = conv_relu(channels, channels)
        self.down = conv_relu(channels, wider)
        self.inner = Hourglass(wider, depth - 1, increase) if depth > 1 else conv_relu(wider, wider)
        self.up = conv_relu(wider, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, channels, h, w) of x (B, channels, h, w), sides divisible by 2 ** depth."""
        low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class StackedHourglass(nn.Module):
    """Hourglasses, each of which reads the stem's feature with what those before it have made of it.

    Args:
        out_channels: maps that each hourglass predicts.
        stacks: number of hourglasses.
        depth: scales of each below its input's.
        channels: channels of the feature between them.
        increase: channels that are added at each scale.
        stem: channels of the stem's first convolution, and of its second and third.
    """

    def __init__(
        self,
        out_channels: int,
        stacks: int = 4,
        depth: int = 4,
        channels: int = 256,
        increase: int = 128,
        stem: tuple[int, int] = (64, 128),
    ) -> None:
        super().__init__()
        self.multiple = STRIDE * 2**depth
        first, second = stem
        self.stem = nn.Sequential(
            conv_relu(3, first, 7, stride=2),
            conv_relu(first, second),
            nn.MaxPool2d(2),
            conv_relu(second, second),
            conv_relu(second, channels),
        )
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(channels, depth, increase), conv_relu(channels, channels), conv_relu(channels, channels)
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(near_zero(nn.Conv2d(channels, out_channels, 1)) for _ in range(stacks))
        self.feature_merges = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.map_merges = nn.ModuleList(nn.Conv2d(out_channels, channels, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> Hourglasses:
        """Compute maps and features.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 4 * 2 ** depth.

        Returns:
            the maps of every hourglass, and the features before and after the first one.

        Raises:
            ValueError: a side is no such multiple.
        """
        stem, first = self.features(images)
        x, feature, maps = stem, first, [self.heads[0](first)]
        for merge_feature, merge_maps, hourglass, head in zip(
            self.feature_merges, self.map_merges, self.hourglasses[1:], self.heads[1:], strict=True
        ):
            x = x + merge_maps(maps[-1]) + merge_feature(feature)
            feature = hourglass(x)
            maps.append(head(feature))
        return Hourglasses(torch.stack(maps, 1), stem, first)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features (B, channels, H/4, W/4) before and after the first hourglass, as `forward` does."""
        if any(side % self.multiple for side in images.shape[-2:]):
            raise ValueError(f"sides {tuple(images.shape[-2:])} are no multiples of {self.multiple}")
        stem = self.stem(images)
        return stem, self.hourglasses[0](stem)
