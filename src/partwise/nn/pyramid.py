"""The category-level module of Holistic, Instance-level Human Parsing (section 3.1 and figure 10b).

A ResNet at output stride 8, its last feature pooled to four coarser grids, and a classifier of all five resolutions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.checkpoints.standin import Pretrained
from partwise.labels import IGNORE
from partwise.nn.backbone import Backbone, freeze_affine
from partwise.nn.dense import ImageParser
from partwise.nn.layers import conv_relu, enlarge, near_zero
from partwise.nn.losses import hardest_mean

GRIDS = (1, 2, 3, 6)  # of the pooled features; 521 pixels have 66 x 66, pooled by 66, 33, 22 and 11


class PyramidParser(ImageParser):
    """Parses single images with pyramid pooling.

    With sides of 8 n + 1 pixels the corner pixels of the prediction lie on those of the image.

    Args:
        num_classes: P + 1, background included.
        backbone: name of a timm ResNet.
        pretrained: initial weights of the backbone, whose batch norms are then left as they are, as in the paper.
        width: channels of each pooled feature and of the joined one.
        backbone_multiplier: factor on the backbone's widths; 1 with ImageNet's weights.
        norm: batch norm after the module's own convolutions, to train from scratch. The paper's is never trained.
        hardest: share of an image's pixels, the hardest, that the loss is computed over; None takes all.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        pretrained: Pretrained = "imagenet",
        width: int = 512,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
        hardest: float | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.hardest = hardest
        self.backbone = Backbone(backbone, pretrained, backbone_multiplier, weights, stride=8)
        freeze_affine(self.backbone)
        channels = self.backbone.channels
        # A grid of one cell has one value an image, too few for batch statistics.
        self.pools = nn.ModuleList(conv_relu(channels, width, 1, norm=norm and grid > 1) for grid in GRIDS)
        self.join = conv_relu(channels + len(GRIDS) * width, width, norm=norm)
        self.classifier = near_zero(nn.Conv2d(width, num_classes, 1))

    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, P + 1, H, W) of images (B, 3, H, W) RGB in [0, 1]."""
        _, res5c = self.backbone(images)
        size = res5c.shape[-2:]
        pooled = [pool(F.adaptive_avg_pool2d(res5c, grid)) for pool, grid in zip(self.pools, GRIDS, strict=True)]
        levels = [F.interpolate(p, size, mode="bilinear", align_corners=True) for p in pooled]
        scores = self.classifier(self.join(torch.cat([res5c, *levels], 1)))
        return enlarge(scores.float(), images)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of a batch's images, by name; label 255 is ignored."""
        pixels = F.cross_entropy(self.logits(batch["images"]), batch["parts"], ignore_index=IGNORE, reduction="none")
        return {"parsing": hardest_mean(pixels, batch["parts"] != IGNORE, self.hardest)}
