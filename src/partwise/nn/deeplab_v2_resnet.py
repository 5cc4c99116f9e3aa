"""DeepLab-v2 on ResNet-101 (Chen et al., PAMI 2018), as the release of pose-guided knowledge transfer trains it.

Batch norms are left as they are, and the loss is computed at stride 8. A bottleneck's stride sits on its 3x3
convolution, as in `partwise.nn.backbone`; in the release it sits on the first 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from partwise.batches import ImageBatch
from partwise.checkpoints.standin import Pretrained
from partwise.nn.backbone import Backbone, freeze_affine
from partwise.nn.deeplab import ParsingBranch
from partwise.nn.dense import ImageParser
from partwise.nn.layers import enlarge, scaled_dilations
from partwise.nn.losses import score_map_loss
from partwise.nn.vgg import RATES

REFERENCE_SIZE = 321  # input side in pixels for which the dilations are given


class DeepLabV2ResNet(ImageParser):
    """A dense parser of single images: a ResNet at stride 8 and four dilated 3x3 classifiers, whose scores are summed.

    Args:
        num_classes: part classes, background included.
        image_size: side of the square input in pixels, or its (height, width); determines the classifiers' dilations:
            6, 12, 18 and 24, smaller below 321 px. Sides of 8n + 1 pixels make the corners of image and feature
            coincide.
        backbone: name of a timm ResNet.
        pretrained: initial weights of the backbone: timm's of ImageNet ("imagenet"), partwise's own of rendered people
            ("standin"), or "none". Batch norms with initial weights keep statistics, gamma and beta; without, they
            train.
        backbone_multiplier: factor on the backbone's widths; 1 with ImageNet's weights.
        weights: file with the backbone's weights in timm's names, in place of `pretrained`.

    Raises:
        InputError: `backbone` is no ResNet, its weights cannot be loaded, or `backbone_multiplier` has none.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = REFERENCE_SIZE,
        backbone: str = "resnet101",
        pretrained: Pretrained = "imagenet",
        backbone_multiplier: float = 1.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, backbone_multiplier, weights, stride=8)
        freeze_affine(self.backbone)
        dilations = scaled_dilations(RATES, image_size, REFERENCE_SIZE)
        self.parsing = ParsingBranch(self.backbone.channels, num_classes, dilations)

    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, num_classes, H, W) of images (B, 3, H, W) RGB in [0, 1]."""
        return enlarge(self._scores(images).float(), images)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of a batch's images at stride 8, by name; label 255 is ignored."""
        return {"parsing": score_map_loss(self._scores(batch["images"]), batch["parts"])}

    def _scores(self, images: Tensor) -> Tensor:
        scores: Tensor = self.parsing(self.backbone(images)[1])
        return scores
