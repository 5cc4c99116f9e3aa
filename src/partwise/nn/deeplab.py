"""DeepLabv3+ as ATEN builds it: the stride-4 feature, the parsing branch, and a parser of single images made of both.

ATEN has no batch norm outside the backbone; `norm` adds it for training from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.checkpoints.standin import Pretrained
from partwise.nn.backbone import Backbone
from partwise.nn.dense import ImageParser
from partwise.nn.layers import conv_relu, near_zero, scaled_dilations
from partwise.nn.losses import lovasz_loss, parsing_loss

REFERENCE_SIZE = 512  # input side in pixels for which the release's dilations and anchors are given
DILATIONS = (6, 12, 18)
STRIDE = 4  # of the feature


def dilations(image_size: int | Sequence[int]) -> tuple[int, ...]:
    """Compute the dilations for an input size: 6, 12 and 18 as in the paper, smaller for inputs below 512 px.

    Args:
        image_size: side of the square input in pixels, or its (height, width).

    Returns:
        three dilations, at least 1.
    """
    return scaled_dilations(DILATIONS, image_size, REFERENCE_SIZE)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image mean, joined by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        width: channels of each branch and of the output.
        dilations: dilations of the 3x3 branches.
        norm: batch norm in all branches but the image mean, and after the 1x1 convolution that joins them.
    """

    def __init__(
        self, in_channels: int, width: int = 256, dilations: Sequence[int] = DILATIONS, norm: bool = False
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_relu(in_channels, width, 1, norm=norm),
                *(conv_relu(in_channels, width, 3, d, norm) for d in dilations),
            ]
        )
        self.mean = conv_relu(in_channels, width, 1)  # one value per image: too few for batch statistics
        self.join = conv_relu(width * (len(dilations) + 2), width, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, width, h, w) from a feature (B, in_channels, h, w)."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.join(torch.cat([branch(x) for branch in self.branches] + [mean], 1))


class DeepLabFeature(nn.Module):
    """N_feat: computes from images the feature (B, width, H/4, W/4) that all heads share (ATEN section 4.5).

    The decoder reads pool1, as in ATEN's released network, not res2 as in DeepLabv3+.

    Args:
        backbone: name of a timm model; see `Backbone`.
        pretrained: initial weights of the backbone, whose batch-norm statistics are then frozen: timm's of ImageNet
            ("imagenet"), partwise's own of rendered people ("standin"), or "none".
        width: channels of the feature.
        image_size: side of the square input in pixels, or its (height, width); determines the `dilations`.
        backbone_multiplier: factor on the backbone's widths; 1 with `pretrained`.
        norm: batch norm in encoder and decoder, which the paper does not have.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.

    Raises:
        InputError: `backbone` does not fit, its weights cannot be loaded, or `backbone_multiplier` has none.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        pretrained: Pretrained = "imagenet",
        width: int = 256,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.width, self.dilations = width, dilations(image_size)
        self.backbone = Backbone(backbone, pretrained, backbone_multiplier, weights)
        self.encoder = ASPP(self.backbone.channels, width, self.dilations, norm)
        self.low = conv_relu(self.backbone.low_channels, 48, 1, norm=norm)
        self.decoder = nn.Sequential(conv_relu(width + 48, width, norm=norm), conv_relu(width, width, norm=norm))

    def forward(self, images: Tensor) -> Tensor:
        """Compute the feature of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 16, and by 32 where the backbone cannot dilate.

        Returns:
            (B, width, H/4, W/4).
        """
        pool1, res5 = self.backbone(images)
        return self.decoder(beside(self.encoder(res5), self.low(pool1)))


def beside(encoded: Tensor, low: Tensor) -> Tensor:
    """Upsample an encoded feature bilinearly to the size of a low-level one, and concatenate them.

    Args:
        encoded: (B, C, h, w).
        low: (B, D, H, W).

    Returns:
        (B, C + D, H, W).
    """
    upsampled = F.interpolate(encoded, low.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([upsampled, low], 1)


class ParsingBranch(nn.Module):
    """Part logits at stride 4: three parallel 3x3 convolutions of dilation 6, 12 and 18, summed.

    Args:
        in_channels: channels of the feature.
        num_classes: part classes, background included.
        dilations: dilations of the convolutions.
    """

    def __init__(self, in_channels: int, num_classes: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            near_zero(nn.Conv2d(in_channels, num_classes, 3, padding=d, dilation=d)) for d in dilations
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Compute logits (B, num_classes, h, w) from a feature (B, in_channels, h, w)."""
        first, *others = (branch(feature) for branch in self.branches)
        return sum(others, start=first)


class DeepLab(ImageParser):
    """A dense parser without persons: `DeepLabFeature` and `ParsingBranch`.

    Args:
        feature: computes the stride-4 feature of images.
        num_classes: part classes, background included.
        lovasz: weight of the Lovasz-softmax loss (Berman et al., CVPR 2018), added to the cross-entropy.
    """

    def __init__(self, feature: DeepLabFeature, num_classes: int, lovasz: float = 0.0) -> None:
        super().__init__()
        self.feature = feature
        self.parsing = ParsingBranch(feature.width, num_classes, feature.dilations)
        self.lovasz = lovasz

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logits of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 16.

        Returns:
            (B, num_classes, H, W).
        """
        logits = self.parsing(self.feature(images))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the losses of a batch's images by name, () each; label 255 is ignored."""
        logits, parts = self.parsing(self.feature(batch["images"])), batch["parts"]
        losses = {"parsing": parsing_loss(logits, parts)}
        if self.lovasz:  # at stride 4: sorting every pixel would cost as much as the network
            losses["lovasz"] = self.lovasz * lovasz_loss(logits, parts[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE])
        return losses
