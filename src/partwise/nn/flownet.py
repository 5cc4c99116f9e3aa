"""FlowNet-S (Dosovitskiy et al., ICCV 2015): optical flow from two stacked images by a plain encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.nn.deeplab import small

MEAN = (123.7, 116.8, 103.9)  # RGB, of 0..255
FLOW_UNIT = 20.0  # pixels of the input that a predicted 1 stands for
LEVEL_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)  # of the loss, finest level first
_SLOPE = 0.1


class FlowNetS(nn.Module):
    """Two images to flow at five scales, the finest at a quarter of their size.

    Args:
        width: multiplier of all channels.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, c6 = (round(width * c) for c in (64, 128, 256, 512, 512, 1024))
        self.conv1, self.conv2 = _conv(6, c1, 7, 2), _conv(c1, c2, 5, 2)
        self.conv3 = nn.Sequential(_conv(c2, c3, 5, 2), _conv(c3, c3))
        self.conv4 = nn.Sequential(_conv(c3, c4, 3, 2), _conv(c4, c4))
        self.conv5 = nn.Sequential(_conv(c4, c5, 3, 2), _conv(c5, c5))
        self.conv6 = nn.Sequential(_conv(c5, c6, 3, 2), _conv(c6, c6))
        skips = (c5, c4, c3, c2)
        ups = tuple(round(width * c) for c in (512, 256, 128, 64))
        joined = [s + u + 2 for s, u in zip(skips, ups, strict=True)]
        self.deconvs = nn.ModuleList(_deconv(i, o) for i, o in zip([c6, *joined[:-1]], ups, strict=True))
        self.predictors = nn.ModuleList(small(nn.Conv2d(c, 2, 3, padding=1)) for c in [c6, *joined])
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False) for _ in skips)
        self.top_channels = joined[-1]
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """Flow from target to source: pixel p of the target is found at p + flow[p] in the source.

        Args:
            target: (B, 3, H, W) RGB in [0, 1], sides divisible by 4.
            source: of the same shape.

        Returns:
            (B, 2, h, w) at 1/4, 1/8, ... 1/64, in units of `FLOW_UNIT` input pixels; the top feature
            (B, top_channels, H/4, W/4) that the finest was predicted from.
        """
        pair = torch.cat([target - self.mean, source - self.mean], 1)
        # The released weights want BGR.
        x2 = self.conv2(self.conv1(pair[:, [2, 1, 0, 5, 4, 3]]))
        x3 = self.conv3(x2)
        x4 = self.conv4(x3)
        x5 = self.conv5(x4)
        top = self.conv6(x5)
        flows = [self.predictors[0](top)]
        for skip, deconv, upsample, predictor in zip(
            (x5, x4, x3, x2), self.deconvs, self.upsample, self.predictors[1:], strict=True
        ):
            height, width = skip.shape[-2:]  # of odd sides, deconvolution gives one pixel more
            up = torch.cat([deconv(top), upsample(flows[-1])], 1)[..., :height, :width]
            top = torch.cat([skip, up], 1)
            flows.append(predictor(top))
        return flows[::-1], top


def flow_loss(flows: Sequence[Tensor], target: Tensor) -> Tensor:
    """Weighted end-point errors of all scales, summed over pixels, averaged over the batch.

    Args:
        flows: as `FlowNetS.forward` gives them.
        target: (B, 2, H, W) pixels; averaged over the area of each coarse pixel.
    """
    total = target.new_zeros(())
    for weight, flow in zip(LEVEL_WEIGHTS, flows, strict=True):
        height, width = flow.shape[-2:]
        truth = F.adaptive_avg_pool2d(target, (height, width)) / FLOW_UNIT
        total = total + weight * (flow - truth).square().sum(1).add(1e-12).sqrt().sum() / len(flow)
    return total


def _conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)
    return nn.Sequential(_initialised(conv), nn.LeakyReLU(_SLOPE, inplace=True))


def _deconv(in_channels: int, out_channels: int) -> nn.Sequential:
    deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)
    return nn.Sequential(_initialised(deconv), nn.LeakyReLU(_SLOPE, inplace=True))


def _initialised(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    nn.init.kaiming_normal_(layer.weight, _SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
