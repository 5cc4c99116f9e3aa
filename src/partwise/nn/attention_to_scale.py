"""Attention to Scale (Chen et al., CVPR 2016, arXiv:1511.03339): DeepLab-LargeFOV at three scales, weighted per pixel.

| symbol | here | shape |
|---|---|---|
| f^s | `scores[s]`: scores of scale s at its own resolution | (B, C, h_s, w_s) |
| w^s | `weights[:, s]`: attention, which sums to 1 over the scales | (B, S, h, w) |
| g | fused scores, at the resolution of scale 1 | (B, C, h, w) |

fc6 and fc7 start from random weights; the paper's come with its initial weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.checkpoints.standin import Pretrained
from partwise.nn.dense import ImageParser
from partwise.nn.layers import conv_relu, enlarge, near_zero, scaled_dilations
from partwise.nn.losses import score_map_loss
from partwise.nn.vgg import VGG, hidden_layers, pool5

SCALES = (1.0, 0.75, 0.5)  # of the images; the first is that of the fused scores
DILATION = 12  # of LargeFOV's fc6
REFERENCE_SIZE = 321  # input side in pixels for which the dilation is given


class AttentionToScale(ImageParser):
    """A dense parser of single images: one network for all scales, and an attention head on its fc7.

    Args:
        num_classes: part classes, background included.
        image_size: side of the square input in pixels, or its (height, width); determines fc6's dilation. Sides of
            32n + 1 pixels make the corners of image and feature coincide at every scale.
        pretrained: initial weights of VGG: "imagenet", "standin" or "none"; see `VGG`.
        width: channels of fc6 and fc7, 1024 in the paper; the attention's first layer has half as many.
        backbone_multiplier: factor on VGG's widths; 1 with ImageNet's weights.
        norm: batch norm after every hidden convolution; False with ImageNet's weights.

    Raises:
        InputError: no pre-trained weights exist for `backbone_multiplier` or `norm`, or they cannot be loaded.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        pretrained: Pretrained = "imagenet",
        width: int = 1024,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = VGG(pretrained, backbone_multiplier, norm)
        (dilation,) = scaled_dilations([DILATION], image_size, REFERENCE_SIZE)
        self.hidden = hidden_layers(self.trunk.conv5_channels, width, dilation, norm)
        self.classifier = near_zero(nn.Conv2d(width, num_classes, 1))
        self.attention = nn.Sequential(
            conv_relu(len(SCALES) * width, width // 2, norm=norm), near_zero(nn.Conv2d(width // 2, len(SCALES), 1))
        )

    def logits(self, images: Tensor) -> Tensor:
        """Compute the fused logits (B, num_classes, H, W) of images (B, 3, H, W) RGB in [0, 1]."""
        return enlarge(fuse(*self.attend(images)), images)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropies () of the fused scores and of each scale's, by name; label 255 is ignored."""
        scores, weights = self.attend(batch["images"])
        maps = {"parsing": fuse(scores, weights)}
        maps |= {f"scale_{scale:g}": f for scale, f in zip(SCALES, scores, strict=True)}
        return {name: score_map_loss(f, batch["parts"]) for name, f in maps.items()}

    def attend(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the scores of every scale and the weight of each scale at every pixel.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].

        Returns:
            scores (B, num_classes, h_s, w_s) of each of the S scales, at stride 8 of the resized images, and weights
            (B, S, h, w) in [0, 1] at stride 8 of the images, which sum to 1 over S.
        """
        fc7 = [self.hidden(pool5(self.trunk(_resize(images, scale))[1])) for scale in SCALES]
        weights = self.attention(torch.cat([enlarge(x, fc7[0]) for x in fc7], 1)).softmax(1)
        return [self.classifier(x) for x in fc7], weights


def fuse(scores: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Compute g = sum over s of w^s f^s, with the scores of all scales upsampled to the weights' size.

    Args:
        scores: (B, C, h_s, w_s) of each of the S scales.
        weights: (B, S, h, w).

    Returns:
        (B, C, h, w).
    """
    maps = torch.stack([enlarge(f, weights) for f in scores], 1)  # (B, S, C, h, w)
    return (weights[:, :, None] * maps).sum(1)


def _resize(images: Tensor, scale: float) -> Tensor:
    """Resize images (B, 3, H, W) by a factor, corners onto corners: 321 pixels become 241 and 161."""
    size = [round(scale * (side - 1)) + 1 for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=True)
