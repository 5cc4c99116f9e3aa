"""DeepLab-v2 on VGG-16 (Chen et al., PAMI 2018): TCNet's frame parser and the single-frame baseline."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from partwise.checkpoints.standin import Pretrained
from partwise.nn.dense import ImageParser
from partwise.nn.layers import enlarge, scaled_dilations
from partwise.nn.vgg import RATES, VGG, ClassifierPyramid

REFERENCE_HEIGHT = 241  # height in pixels of the crops for which the dilations are given


class DeepLabV2(ImageParser):
    """A dense parser of single images.

    Args:
        num_classes: part classes, background included.
        image_size: side of the square input in pixels, or its (height, width); determines the `rates`. Sides of 8n + 1
            pixels make the corners of image and feature coincide.
        pretrained: initial weights of the trunk: "imagenet", "standin" or "none"; see `VGG`.
        width: channels of the classifiers' hidden layers, 1024 in the paper.
        backbone_multiplier: factor on VGG's widths; 1 with ImageNet's weights, 0.25 with the stand-in's.
        norm: batch norm after every hidden convolution; False with ImageNet's weights, true with the stand-in's.

    Raises:
        InputError: no pre-trained weights exist for `backbone_multiplier` or `norm`, or they cannot be loaded.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = (241, 121),
        pretrained: Pretrained = "imagenet",
        width: int = 1024,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.norm = num_classes, norm
        self.trunk = VGG(pretrained, backbone_multiplier, norm)
        self.parsing = ClassifierPyramid(self.trunk.conv5_channels, num_classes, width, rates(image_size), norm)

    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, num_classes, H, W) of images (B, 3, H, W) RGB in [0, 1]."""
        return enlarge(self.parsing(self.trunk(images)[1]), images)


def rates(image_size: int | Sequence[int]) -> tuple[int, ...]:
    """Compute the dilations for an input size: 6, 12, 18 and 24 as in the paper, smaller below 241 px.

    Args:
        image_size: side of the square input in pixels, or its (height, width).

    Returns:
        four dilations, at least 1.
    """
    return scaled_dilations(RATES, image_size, REFERENCE_HEIGHT)
