"""FCN-8s "at once" on VGG-16 (Shelhamer et al., PAMI 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from partwise.checkpoints.standin import Pretrained, initial_weights
from partwise.errors import InputError
from partwise.nn.backbone import IMAGENET_MEAN, IMAGENET_STD, channels, freeze_statistics
from partwise.nn.dense import ImageParser
from partwise.nn.vgg import VGG, WIDTHS, pretrained_vgg

PAD = 99  # pixels around the image; with conv1_1's own 100, so that the fully connected layers' kernel fits
FULL = 4096  # width of VGG-16's fully connected layers
SCALES = {4: 0.01, 3: 0.0001}  # factors on pool4 and pool3, as in the "at once" release
CROPS = {4: 5, 3: 9, 0: 31}  # offsets in pixels of pool4, of pool3 and of the result, as in the release


class FCN8s(ImageParser):
    """A dense parser that sums scores of strides 32, 16 and 8.

    Args:
        num_classes: part classes, background included.
        pretrained: initial weights: torchvision's of ImageNet ("imagenet"), those of the two fully connected layers
            included; "standin", partwise's own of VGG alone; or "none".
        width: channels of these two layers, 4096 in the paper; must be 4096 with ImageNet's weights.
        backbone_multiplier: factor on VGG's widths; 1 with ImageNet's weights, 0.25 with the stand-in's.
        norm: batch norm after every convolution of VGG; False with ImageNet's weights, true with the stand-in's.

    Raises:
        InputError: no pre-trained weights exist for these widths, or they cannot be loaded.
    """

    def __init__(
        self,
        num_classes: int,
        pretrained: Pretrained = "imagenet",
        width: int = FULL,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        source = initial_weights(pretrained)
        if source == "imagenet" and (width != FULL or backbone_multiplier != 1 or norm):
            raise InputError(
                f"FCN-8s has weights of ImageNet of width {FULL}, backbone_multiplier 1 and without norm alone; set "
                "model.network.pretrained=none for others"
            )
        widths = [[round(backbone_multiplier * w) for w in stage] for stage in WIDTHS]
        plan = [item for stage in widths for item in (*stage, "M")]
        vgg = pretrained_vgg() if source == "imagenet" else None
        layers = make_layers(plan, norm) if vgg is None else vgg.features
        if source == "standin":
            given = VGG(pretrained, backbone_multiplier, norm).blocks.state_dict()
            layers.load_state_dict(dict(zip(layers.state_dict(), given.values(), strict=True)))
            freeze_statistics(layers)
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        for i in pools:
            layers[i] = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.to_pool3 = layers[: pools[2] + 1]
        self.to_pool4 = layers[pools[2] + 1 : pools[3] + 1]
        self.to_pool5 = layers[pools[3] + 1 :]
        self.classifier = nn.Sequential(
            nn.Conv2d(widths[4][-1], width, 7), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Dropout(),
        )  # fmt: skip
        if vgg is not None:
            _transplant(vgg.classifier, self.classifier)
        self.score, self.score4, self.score3 = (
            _zero(nn.Conv2d(c, num_classes, 1)) for c in (width, widths[3][-1], widths[2][-1])
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", channels(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", channels(IMAGENET_STD), persistent=False)

    def logits(self, images: Tensor) -> Tensor:
        """Compute logits (B, num_classes, H, W) of images (B, 3, H, W) RGB in [0, 1]."""
        x = F.pad((images - self.mean) / self.std, [PAD] * 4)  # zero is the mean colour
        pool3 = self.to_pool3(x)
        pool4 = self.to_pool4(pool3)
        scores = self.score(self.classifier(self.to_pool5(pool4)))
        scores = _twice(scores)
        scores = scores + _crop(self.score4(SCALES[4] * pool4), CROPS[4], scores)
        scores = _twice(scores)
        scores = scores + _crop(self.score3(SCALES[3] * pool3), CROPS[3], scores)
        return _crop(_upsample(scores, 8), CROPS[0], images)


def _twice(scores: Tensor) -> Tensor:
    return _upsample(scores, 2)


def _upsample(scores: Tensor, factor: int) -> Tensor:
    """Apply a transposed convolution with a bilinear kernel of side 2 * factor to each class, without padding."""
    size = 2 * factor
    line = 1 - (torch.arange(size, device=scores.device) - (factor - 0.5)).abs() / factor
    kernel = (line[:, None] * line).to(scores.dtype).expand(scores.shape[1], 1, size, size)
    return F.conv_transpose2d(scores, kernel, stride=factor, groups=scores.shape[1])


def _crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Cut from x (B, C, H, W) the window of another tensor's height and width, `offset` pixels from above and left."""
    height, width = like.shape[-2:]
    return x[..., offset : offset + height, offset : offset + width]


def _transplant(linear: nn.Sequential, convolutions: nn.Sequential) -> None:
    """Load VGG's fc6 and fc7 as convolutions of 7 x 7 and 1 x 1 pixels (section 4.1)."""
    for i in (0, 3):
        weights = linear[i].state_dict()
        shape = convolutions[i].state_dict()["weight"].shape
        convolutions[i].load_state_dict({**weights, "weight": weights["weight"].view(shape)})


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
