"""VGG-16 at output stride 8 and the pyramid of dilated classifiers, as in DeepLab-v2 (Chen et al., PAMI 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.models.vgg import make_layers

from partwise.checkpoints.standin import Pretrained, initial_weights, trunk
from partwise.errors import InputError
from partwise.nn.backbone import IMAGENET_MEAN, IMAGENET_STD, channels, freeze_statistics
from partwise.nn.layers import conv_relu, near_zero
from partwise.nn.weights import TORCH_HUB, missing_weights

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
RATES = (6, 12, 18, 24)  # dilations of DeepLab-v2's classifiers
STRIDE = 8


class VGG(nn.Module):
    """conv1_1 to conv5_3 at strides 1, 2, 4, 8, 8, with 3x3 pools, the last of stride 1, and conv5 dilated by 2.

    With sides of 8n + 1 pixels, the corner pixels of every feature lie on those of the image.

    Args:
        pretrained: initial weights: torchvision's of ImageNet ("imagenet"); "standin", partwise's own of rendered
            people, whose batch-norm statistics are then frozen; or "none".
        multiplier: factor on all widths; 1 with ImageNet's weights, 0.25 with partwise's.
        norm: batch norm after every convolution; False with ImageNet's weights, true with partwise's.

    Raises:
        InputError: there are no such weights of that `multiplier` and `norm`, or they cannot be loaded.
    """

    def __init__(self, pretrained: Pretrained = "imagenet", multiplier: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        source = initial_weights(pretrained)
        if source == "imagenet" and (multiplier != 1 or norm):
            raise InputError("backbone_multiplier and norm have no weights of ImageNet; set pretrained=none")
        if source == "standin" and not norm:
            raise InputError("norm=false has no weights of pretrained=standin; set norm=true or pretrained=none")
        widths = [[round(multiplier * width) for width in stage] for stage in WIDTHS]
        plan = [item for stage in widths for item in ("M", *stage)][1:]
        layers = pretrained_vgg().features if source == "imagenet" else make_layers(plan, norm)
        self.blocks = nn.ModuleList(_blocks(layers))
        for conv in self.blocks[4].modules():
            if isinstance(conv, nn.Conv2d):
                conv.dilation, conv.padding = (2, 2), (2, 2)
        if source == "none":
            _initialise(self.blocks)
        elif source == "standin":
            self.blocks.load_state_dict(trunk(f"vgg16 x {multiplier:g}"))
            freeze_statistics(self.blocks)
        self.conv3_channels, self.conv5_channels = widths[2][-1], widths[4][-1]
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", channels(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", channels(IMAGENET_STD), persistent=False)

    def forward(self, images: Tensor, activate: bool = True) -> tuple[Tensor, Tensor]:
        """Compute the features of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            activate: apply the last ReLU, that of conv5_3.

        Returns:
            conv3_3 (B, C3, H/4, W/4) and conv5_3 (B, C5, H/8, W/8); sides round up.
        """
        x = (images - self.mean) / self.std
        features = []
        for i, block in enumerate(self.blocks):
            layers = block if activate or i < 4 else nn.Sequential(*list(block.children())[:-1])
            x = layers(x if i == 0 else F.max_pool2d(x, 3, 2 if i < 4 else 1, 1))
            features.append(x)
        return features[2], features[4]


class ClassifierPyramid(nn.Module):
    """DeepLab-v2's ASPP: pool5, then per dilation a branch of 3x3, 1x1 and classifier; the branches' scores are summed.

    Args:
        in_channels: channels of conv5_3.
        num_classes: classes, background included.
        width: channels of the branches, 1024 in the paper.
        rates: dilations of the branches.
        norm: batch norm in the branches, for training from scratch.
        dropout: dropout probability in the branches.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int = 1024,
        rates: Sequence[int] = RATES,
        norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            hidden_layers(in_channels, width, rate, norm, dropout).append(near_zero(nn.Conv2d(width, num_classes, 1)))
            for rate in rates
        )

    def forward(self, conv5: Tensor) -> Tensor:
        """Compute logits (B, num_classes, h, w) from conv5_3 (B, in_channels, h, w)."""
        x = pool5(conv5)
        first, *others = (branch(x) for branch in self.branches)
        return sum(others, start=first)


def pool5(conv5: Tensor) -> Tensor:
    """Compute DeepLab's pool5 (B, C, h, w) from conv5_3 (B, C, h, w): 3x3 maxima at stride 1."""
    return F.max_pool2d(conv5, 3, 1, 1)


def hidden_layers(
    in_channels: int, width: int, dilation: int, norm: bool = False, dropout: float = 0.5
) -> nn.Sequential:
    """Build DeepLab's fc6, 3x3 and dilated, and fc7, 1x1, each with dropout; He-initialised.

    Args:
        in_channels: channels of pool5.
        width: channels of both layers, 1024 in the papers.
        dilation: dilation of fc6, 12 in LargeFOV.
        norm: batch norm in place of the biases, for training from scratch.
        dropout: dropout probability.

    Returns:
        the layers in order.
    """
    return nn.Sequential(
        conv_relu(in_channels, width, 3, dilation, norm), nn.Dropout(dropout),
        conv_relu(width, width, 1, norm=norm), nn.Dropout(dropout),
    )  # fmt: skip


def pretrained_vgg() -> torchvision.models.VGG:
    """Load torchvision's VGG-16, trained on ImageNet.

    Raises:
        InputError: the weights cannot be loaded.
    """
    weights = VGG16_Weights.IMAGENET1K_V1
    try:
        return vgg16(weights=weights)
    except Exception as error:
        file = f"torchvision's file {weights.url.rsplit('/', 1)[-1]}"
        raise missing_weights("pre-trained weights of VGG-16", error, file, TORCH_HUB) from error


def _blocks(layers: nn.Sequential) -> list[nn.Sequential]:
    """Return the layers between the pools; the forward pass has pools of its own."""
    cuts = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    bounds = [-1, *cuts, *([] if isinstance(layers[-1], nn.MaxPool2d) else [len(layers)])]
    return [layers[a + 1 : b] for a, b in pairwise(bounds)]


def _initialise(blocks: nn.Module) -> None:
    for layer in blocks.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
