"""DeepLabv3+ (Chen et al., ECCV 2018) on timm's backbones, at stride 16."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.checkpoints.standin import Pretrained
from partwise.nn.deeplab import REFERENCE_SIZE, DeepLabFeature
from partwise.nn.dense import ImageParser

DROPOUT = 0.1  # before the classifier


class DeepLabV3Plus(ImageParser):
    """A dense parser: atrous pyramid at stride 16, decoder at stride 4, both with batch norm, and a 1x1 classifier.

    The pyramid's dilations shrink with inputs below 512 px.

    Args:
        num_classes: classes, background included.
        backbone: name of a timm model, such as xception71 or resnet50.
        pretrained: initial weights of the backbone: "imagenet", "standin" or "none".
        width: channels of pyramid and decoder.
        image_size: side of the square input in pixels, or its (height, width).
        backbone_multiplier: factor on a ResNet's widths; 1 with `pretrained`.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.
        extra: input channels beyond RGB, whose first weights are 0.
    """

    def __init__(
        self,
        num_classes: int = 2,
        backbone: str = "xception71",
        pretrained: Pretrained = "imagenet",
        width: int = 256,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        backbone_multiplier: float = 1.0,
        weights: str | None = None,
        extra: int = 0,
    ) -> None:
        super().__init__()
        self.feature = DeepLabFeature(
            backbone, pretrained, width, image_size, backbone_multiplier, True, weights, low="res2", extra=extra
        )
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Conv2d(width, num_classes, 1))

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logits (B, num_classes, H, W), float32, of images (B, 3 + extra, H, W), RGB in [0, 1] first."""
        logits: Tensor = self.classifier(self.feature(images))
        with torch.autocast(images.device.type, enabled=False):
            return F.interpolate(logits.float(), images.shape[-2:], mode="bilinear", align_corners=False)
