"""DeepLabv3+ as ATEN builds it: the stride-4 feature and the parsing branch. No batch norm outside the backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.nn.backbone import Backbone

REFERENCE_SIZE = 512  # input side in pixels that the release's dilations and anchors belong to
DILATIONS = (6, 12, 18)


def dilations(image_size: int) -> tuple[int, ...]:
    """The release's dilations for another input size: they reach as far relative to the image."""
    return tuple(max(1, round(d * image_size / REFERENCE_SIZE)) for d in DILATIONS)


def conv_relu(in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Size-preserving convolution and ReLU, He-initialised."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=dilation * (kernel // 2), dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def small(layer: nn.Conv2d) -> nn.Conv2d:
    """An output layer that starts near zero."""
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ASPP(nn.Module):
    """Atrous spatial pyramid: 1x1, three dilated 3x3 and the image mean, each `width` + ReLU, joined by a 1x1."""

    def __init__(self, in_channels: int, width: int = 256, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_relu(in_channels, width, 1), *(conv_relu(in_channels, width, 3, d) for d in dilations)]
        )
        self.mean = conv_relu(in_channels, width, 1)
        self.join = conv_relu(width * (len(dilations) + 2), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, width, h, w)."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.join(torch.cat([branch(x) for branch in self.branches] + [mean], 1))


class DeepLabFeature(nn.Module):
    """N_feat: images to the feature (B, width, H/4, W/4) that all heads share (ATEN section 3.2).

    The decoder reads pool1 rather than DeepLabv3+'s res2, as ATEN's released network does.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        pretrained: bool = True,
        width: int = 256,
        image_size: int = REFERENCE_SIZE,
        backbone_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, backbone_multiplier)
        self.encoder = ASPP(self.backbone.channels, width, dilations(image_size))
        self.low = conv_relu(self.backbone.low_channels, 48, 1)
        self.decoder = nn.Sequential(conv_relu(width + 48, width), conv_relu(width, width))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1], sides divisible by 16 -> (B, width, H/4, W/4)."""
        pool1, res5 = self.backbone(images)
        encoded = F.interpolate(self.encoder(res5), pool1.shape[-2:], mode="bilinear", align_corners=False)
        return self.decoder(torch.cat([encoded, self.low(pool1)], 1))


class ParsingBranch(nn.Module):
    """Part logits at stride 4: three parallel 3x3 convolutions of dilation 6, 12 and 18, summed."""

    def __init__(self, in_channels: int, num_classes: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            small(nn.Conv2d(in_channels, num_classes, 3, padding=d, dilation=d)) for d in dilations
        )

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, num_classes, h, w)."""
        first, *others = (branch(feature) for branch in self.branches)
        return sum(others, start=first)


def parsing_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, C, h, w), upsampled, against parts (B, H, W); 255 is ignored.

    A batch without any labelled pixel gives 0, not NaN.
    """
    logits = F.interpolate(logits, parts.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, parts, ignore_index=255, reduction="sum")
    return total / (parts != 255).sum().clamp(min=1)
