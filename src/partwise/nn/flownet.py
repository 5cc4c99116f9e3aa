"""FlowNet (Dosovitskiy et al., ICCV 2015): S from two stacked images, C from the correlation of two features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import FlowBatch
from partwise.nn.layers import near_zero
from partwise.nn.products import PatchConv2d, SpreadConv2d, SpreadConvTranspose2d
from partwise.ops.correlation import correlation
from partwise.ops.flow import centred_mean, enlarge_flow

MEAN = (123.7, 116.8, 103.9)  # RGB in 0..255
FLOW_UNIT = 20.0  # pixels of the input that a predicted 1 stands for
FINEST = 4  # stride of the finest flow
LEVEL_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)  # of the scales in the loss, finest first
_SLOPE = 0.1


class FlowDecoder(nn.Module):
    """FlowNet's refinement: from the coarsest feature to a quarter of the images' size, with a flow per scale.

    Args:
        coarsest: channels of the coarsest feature.
        skips: channels of the four finer features, coarse to fine, each about twice as large as the one before.
        width: multiplier of the decoder's own channels.
    """

    def __init__(self, coarsest: int, skips: Sequence[int], width: float = 1.0) -> None:
        super().__init__()
        ups = [round(width * c) for c in (512, 256, 128, 64)]
        joined = [s + u + 2 for s, u in zip(skips, ups, strict=True)]
        self.deconvs = nn.ModuleList(_deconv(i, o) for i, o in zip([coarsest, *joined[:-1]], ups, strict=True))
        self.predictors = nn.ModuleList(near_zero(SpreadConv2d(c, 2, 3, padding=1)) for c in [coarsest, *joined])
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False) for _ in skips)
        self.top_channels = joined[-1]

    def forward(self, coarsest: Tensor, skips: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Predict a flow at every scale.

        Args:
            coarsest: (B, C, h, w) coarsest feature.
            skips: finer features (B, C', h', w'), coarse to fine.

        Returns:
            flows (B, 2, h, w), finest first, in units of `FLOW_UNIT` input pixels; the feature that the finest was
            predicted from.
        """
        top, flows = coarsest, [self.predictors[0](coarsest)]
        for skip, deconv, upsample, predictor in zip(
            skips, self.deconvs, self.upsample, self.predictors[1:], strict=True
        ):
            height, width = skip.shape[-2:]  # deconvolution of an odd side gives one pixel more
            up = torch.cat([deconv(top), upsample(flows[-1])], 1)[..., :height, :width]
            top = torch.cat([skip, up], 1)
            flows.append(predictor(top))
        return flows[::-1], top


class FlowEstimator(nn.Module):
    """Base class of networks from (target, source) to flows of all scales, finest first, and a feature.

    Flows are in units of `FLOW_UNIT` input pixels.

    Attributes:
        align_corners: where the flow's pixels lie: with True, pixel i of a flow at stride s lies at pixel s * i of the
            images; with False, in the middle of the area that it covers.
    """

    align_corners: ClassVar[bool]

    def losses(self, batch: FlowBatch) -> dict[str, Tensor]:
        """Compute the weighted end-point error () of all scales of a batch, by name (`flow_loss`)."""
        first, second = batch["frames"].unbind(1)
        return {"flow": flow_loss(self(first, second)[0], batch["flow"], self.align_corners)}

    def estimate(self, frames: Tensor) -> Tensor:
        """Estimate the flow (B, 2, H, W) in pixels from the first to the second of frames (B, 2, 3, H, W) in [0, 1]."""
        finest = self(*frames.unbind(1))[0][0]
        return full_flow(finest, (frames.shape[-2], frames.shape[-1]), self.align_corners)


class FlowNetS(FlowEstimator):
    """FlowNet-S: from two images to flow at five scales, the finest at a quarter of their size.

    The flow at a coarse pixel is that of the middle of the pixel's area (`align_corners=False`), as in the PyTorch port
    whose weights it loads.

    Args:
        width: multiplier of all channels.
    """

    align_corners: ClassVar[bool] = False

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, c6 = (round(width * c) for c in (64, 128, 256, 512, 512, 1024))
        self.conv1, self.conv2 = _conv(6, c1, 7, 2), _conv(c1, c2, 5, 2)
        self.conv3 = nn.Sequential(_conv(c2, c3, 5, 2), _conv(c3, c3))
        self.conv4 = nn.Sequential(_conv(c3, c4, 3, 2), _conv(c4, c4))
        self.conv5 = nn.Sequential(_conv(c4, c5, 3, 2), _conv(c5, c5))
        self.conv6 = nn.Sequential(_conv(c5, c6, 3, 2), _conv(c6, c6))
        self.decoder = FlowDecoder(c6, (c5, c4, c3, c2), width)
        self.top_channels = self.decoder.top_channels
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """Estimate the flow from target to source: pixel p of the target is found at p + flow[p] in the source.

        Args:
            target: (B, 3, H, W) RGB in [0, 1], sides divisible by 4.
            source: (B, 3, H, W) RGB in [0, 1].

        Returns:
            flows (B, 2, h, w) at strides 4, 8, ... 64, in units of `FLOW_UNIT` input pixels; the feature (B,
            top_channels, H/4, W/4) that the finest was predicted from.
        """
        # The released weights expect BGR. Flip, do not index: an index makes the host wait for the device.
        pair = torch.cat([(image - self.mean).flip(1) for image in (target, source)], 1)
        x2 = self.conv2(self.conv1(pair))
        x3 = self.conv3(x2)
        x4 = self.conv4(x3)
        x5 = self.conv5(x4)
        result: tuple[list[Tensor], Tensor] = self.decoder(self.conv6(x5), (x5, x4, x3, x2))
        return result


class CorrelationFlow(nn.Module):
    """FlowNet-C on another network's features: correlation, then convolutions and upconvolutions (TCNet section 3.2).

    Pixel i of a flow at stride s lies at pixel s * i of the images, the centre of the features that it is predicted
    from. `full_flow` and `flow_loss` therefore take `align_corners=True`.

    Args:
        channels: channels of the correlated features, at stride 8.
        skip_channels: channels of the target's feature at stride 4.
        displacement: largest displacement in pixels of the stride-8 feature; all up to it are compared.
        width: multiplier of the network's own channels.
        norm: batch norm on the correlated features, which FlowNet-C does not have. From scratch, rectified features are
            alike at every pixel, so their products hardly depend on the displacement.
    """

    def __init__(
        self, channels: int, skip_channels: int, displacement: int = 10, width: float = 1.0, norm: bool = False
    ) -> None:
        super().__init__()
        c0, c3, c4, c6 = (round(width * c) for c in (32, 256, 512, 1024))
        self.displacement = displacement
        self.norm = nn.BatchNorm2d(channels, affine=False) if norm else nn.Identity()
        self.redirect = _conv(channels, c0, 1)
        self.conv3 = _conv((2 * displacement + 1) ** 2 + c0, c3)
        self.conv4 = nn.Sequential(_conv(c3, c4, 3, 2), _conv(c4, c4))
        self.conv5 = nn.Sequential(_conv(c4, c4, 3, 2), _conv(c4, c4))
        self.conv6 = nn.Sequential(_conv(c4, c6, 3, 2), _conv(c6, c6))
        self.decoder = FlowDecoder(c6, (c4, c4, c3, skip_channels), width)

    def forward(self, target: Tensor, source: Tensor, skip: Tensor) -> list[Tensor]:
        """Estimate the flow from target to source.

        Args:
            target: (B, C, h, w) feature at stride 8.
            source: (B, C, h, w) feature at stride 8.
            skip: (B, C', 2h, 2w) feature of the target at stride 4; a side may be one pixel smaller.

        Returns:
            flows (B, 2, h, w) at strides 4, 8, ... 64, in units of `FLOW_UNIT` input pixels.
        """
        a, b = self.norm(torch.cat([target, source])).chunk(2)
        match = F.leaky_relu(correlation(a, b, self.displacement, 1), _SLOPE).to(target.dtype)
        x3 = self.conv3(torch.cat([self.redirect(target), match], 1))
        x4 = self.conv4(x3)
        x5 = self.conv5(x4)
        flows: list[Tensor] = self.decoder(self.conv6(x5), (x5, x4, x3, skip))[0]
        return flows


def full_flow(flow: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Enlarge a network's finest flow to the images' size.

    Args:
        flow: (B, 2, h, w) at stride 4, in units of `FLOW_UNIT` input pixels.
        size: (height, width) of the images.
        align_corners: pixel i of the flow lies at pixel 4 * i of the images; otherwise in the middle of the area that
            it covers.

    Returns:
        (B, 2, *size) float32, pixels.
    """
    pixels = FLOW_UNIT * flow.float()
    if align_corners:
        return enlarge_flow(pixels / FINEST, size, FINEST)
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False)


def flow_loss(flows: Sequence[Tensor], target: Tensor, align_corners: bool = False) -> Tensor:
    """Compute the weighted sum over scales of end-point errors, summed over pixels and averaged over the batch.

    Args:
        flows: (B, 2, h, w) at strides 4, 8, ... 64, in units of `FLOW_UNIT` input pixels.
        target: (B, 2, H, W) true flow in pixels; averaged over the area of each coarse pixel.
        align_corners: centre that area at pixel s * i of the target for pixel i of a flow at stride s, as in the Caffe
            release; otherwise divide the target into equal areas, as in the PyTorch port.

    Returns:
        () float32.
    """
    total = target.new_zeros(())
    for level, (weight, flow) in enumerate(zip(LEVEL_WEIGHTS, flows, strict=True)):
        height, width = flow.shape[-2:]
        truth = (
            centred_mean(target, FINEST << level) if align_corners else F.adaptive_avg_pool2d(target, (height, width))
        ) / FLOW_UNIT
        total = total + weight * (flow.float() - truth).square().sum(1).add(1e-12).sqrt().sum() / len(flow)
    return total


def _conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = PatchConv2d(in_channels, out_channels, kernel, stride, kernel // 2)
    return nn.Sequential(_initialised(conv), nn.LeakyReLU(_SLOPE, inplace=True))


def _deconv(in_channels: int, out_channels: int) -> nn.Sequential:
    deconv = SpreadConvTranspose2d(in_channels, out_channels, 4, 2, 1)
    return nn.Sequential(_initialised(deconv), nn.LeakyReLU(_SLOPE, inplace=True))


def _initialised(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    nn.init.kaiming_normal_(layer.weight, _SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
