"""DeepLabv3+ (Chen et al., ECCV 2018, arXiv:1802.02611): encoder with atrous pyramid, decoder with a low-level feature.

The Seg Module of the self-supervised framework for human instance segmentation (section 3.1) and, with skeletons as
further input channels, its Pose2Seg Module (section 3.4). In the encoder the mean over the image has no batch norm, and
features are upsampled without `align_corners`, as in `partwise.nn.deeplab`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.checkpoints.standin import Pretrained
from partwise.nn.backbone import Backbone
from partwise.nn.deeplab import ASPP, REFERENCE_SIZE, beside, dilations
from partwise.nn.dense import ImageParser
from partwise.nn.layers import conv_relu, near_zero
from partwise.nn.losses import parsing_loss

DROPOUT = (0.5, 0.5, 0.1)


class DeepLabV3Plus(ImageParser):
    """A dense parser of single images.

    Args:
        num_classes: classes, background included; 2 for foreground.
        backbone: name of a timm model, such as xception71.tf_in1k; see `Backbone`.
        pretrained: initial weights of the backbone, whose batch-norm statistics are then frozen: timm's of ImageNet
            ("imagenet"), partwise's own of rendered people ("standin"), or "none".
        width: channels of the encoder's output and of the decoder.
        low_width: channels to which the low-level feature is reduced.
        image_size: side of the square input in pixels, or its (height, width); determines the dilations: 6, 12 and 18,
            smaller below 512 px.
        backbone_multiplier: factor on a ResNet's widths; 1 with ImageNet's weights.
        norm: batch norm in encoder and decoder.
        dropout: probabilities after the encoder and after each of the decoder's two 3x3 convolutions.
        in_channels: channels of the input: RGB and, if more than 3, others behind it, whose weights start at 0.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.

    Raises:
        InputError: `backbone` does not fit, its weights cannot be loaded, or `backbone_multiplier` has none.
    """

    def __init__(
        self,
        num_classes: int = 2,
        backbone: str = "xception71.tf_in1k",
        pretrained: Pretrained = "imagenet",
        width: int = 256,
        low_width: int = 48,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        backbone_multiplier: float = 1.0,
        norm: bool = True,
        dropout: Sequence[float] = DROPOUT,
        in_channels: int = 3,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(
            backbone, pretrained, backbone_multiplier, weights, low="res2", in_channels=in_channels
        )
        after_encoder, after_first, after_second = (nn.Dropout(p) for p in dropout)
        self.encoder = nn.Sequential(ASPP(self.backbone.channels, width, dilations(image_size), norm), after_encoder)
        self.low = conv_relu(self.backbone.low_channels, low_width, 1, norm=norm)
        self.decoder = nn.Sequential(
            conv_relu(width + low_width, width, norm=norm),
            after_first,
            conv_relu(width, width, norm=norm),
            after_second,
        )
        self.classifier = near_zero(nn.Conv2d(width, num_classes, 1))

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logits of images.

        Args:
            images: (B, in_channels, H, W), RGB in [0, 1] first, sides divisible by 16.

        Returns:
            (B, num_classes, H, W) float32.
        """
        logits = self._scores(images).float()
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of a batch's images, by name; label 255 is ignored."""
        return {"parsing": parsing_loss(self._scores(batch["images"]), batch["parts"])}

    def _scores(self, images: Tensor) -> Tensor:
        """(B, num_classes, H/4, W/4)."""
        res2, res5 = self.backbone(images)
        return self.classifier(self.decoder(beside(self.encoder(res5), self.low(res2))))
