"""DeepLab-v2 on VGG-16 (Chen et al., PAMI 2018): TCNet's frame parser and the single-frame baseline."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from partwise.nn.dense import ImageParser
from partwise.nn.vgg import RATES, VGG, ClassifierPyramid
from partwise.ops.resize import canvas_size

REFERENCE_HEIGHT = 241  # of the crops that the dilations belong to


class DeepLabV2(ImageParser):
    """A dense parser of single images.

    Args:
        num_classes: part classes, background included.
        image_size: (height, width) of the input, best of the form 8n + 1, see `rates`.
        pretrained: start from torchvision's ImageNet weights.
        width: of the classifiers.
        backbone_multiplier: of VGG's widths, from scratch only.
        norm: batch norm, from scratch only.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = (241, 121),
        pretrained: bool = True,
        width: int = 1024,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.norm = num_classes, norm
        self.trunk = VGG(pretrained, backbone_multiplier, norm)
        self.parsing = ClassifierPyramid(self.trunk.conv5_channels, num_classes, width, rates(image_size), norm)

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, num_classes, H, W)."""
        return enlarge(self.parsing(self.trunk(images)[1]), images)


def rates(image_size: int | Sequence[int]) -> tuple[int, ...]:
    """The paper's 6, 12, 18 and 24, less for smaller crops: they reach as far relative to the longer side."""
    side = min(max(canvas_size(image_size)), REFERENCE_HEIGHT)
    return tuple(max(1, round(rate * side / REFERENCE_HEIGHT)) for rate in RATES)


def enlarge(scores: Tensor, images: Tensor) -> Tensor:
    """Scores (B, C, h, w) at stride 8 -> (B, C, H, W); of 8n + 1 pixels, both corners coincide."""
    return F.interpolate(scores, images.shape[-2:], mode="bilinear", align_corners=True)
