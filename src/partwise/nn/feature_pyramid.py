"""Feature pyramids on a ResNet (Lin et al., CVPR 2017), as Mask R-CNN and Pose2Seg take them."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from partwise.nn.backbone import Stages

STRIDES = (4, 8, 16, 32)  # of the levels, finest first


class FeaturePyramid(nn.Module):
    """A ResNet whose coarser features are added to the finer ones, from the top down.

    Args:
        stages: the ResNet.
        width: C, channels of every level.
        levels: number of levels that are returned, the finest ones.
        upsampling: how a coarser level is enlarged: "nearest" as in the paper, or "bilinear".
    """

    def __init__(
        self, stages: Stages, width: int = 256, levels: int = 4, upsampling: Literal["nearest", "bilinear"] = "nearest"
    ) -> None:
        super().__init__()
        self.stages, self.width, self.upsampling = stages, width, upsampling
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in stages.channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(levels))
        for conv in (*self.lateral, *self.smooth):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the levels (B, C, H/s, W/s), s = 4, 8, 16 and 32, of images (B, 3, H, W) RGB in [0, 1]."""
        sides = [layer(stage) for layer, stage in zip(self.lateral, self.stages(images), strict=True)]
        sums = sides[-1:]
        for side in reversed(sides[:-1]):
            sums.insert(0, side + F.interpolate(sums[0], side.shape[-2:], mode=self.upsampling))
        return [layer(level) for layer, level in zip(self.smooth, sums, strict=False)]
