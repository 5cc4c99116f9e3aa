"""Image backbones from timm, with the strides and dilations that the papers use."""

from __future__ import annotations

from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.errors import InputError
from partwise.nn.weights import missing_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class FrozenStatistics(nn.Module):
    """Batch norm whose mean and variance are frozen, in training too; gamma and beta train.

    It does not derive from `BatchNorm2d`, so neither `train()` nor conversion to `SyncBatchNorm` changes it. Its state
    dict has the same names, so weights of one load into the other.

    Args:
        norm: batch norm whose parameters and statistics are taken over.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Compute gamma (x - mean) / sqrt(variance + eps) + beta of x (B, C, H, W)."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Backbone(nn.Module):
    """A timm ResNet at output stride 16 that also returns pool1, the max-pooled first activation.

    Follows ATEN's released network: strides 4, 8, 16, 16; every 3x3 convolution of res5 dilated by 2; the low-level
    feature taken before res2. timm's ResNets differ in two points. The first block of a dilated stage keeps dilation 1,
    which is corrected here. A bottleneck's stride sits on its 3x3 convolution, which is kept.

    With pre-trained weights, batch-norm statistics are frozen while gamma and beta train. From scratch the statistics
    train too: if they were frozen, zero-initialised residual branches would get no gradient.

    Args:
        name: name of a timm ResNet.
        pretrained: load timm's ImageNet weights.
        multiplier: factor on the four stages' widths; 1 with `pretrained`.

    Raises:
        InputError: `name` is no timm ResNet, its weights cannot be loaded, or `multiplier` has none.
    """

    def __init__(self, name: str = "resnet50", pretrained: bool = True, multiplier: float = 1.0) -> None:
        super().__init__()
        if set(":/") & set(name) or not timm.is_model(name):  # timm also accepts URLs and folders
            raise InputError(f"backbone={name} is none of timm's models; name a timm ResNet such as resnet50")
        if pretrained and multiplier != 1:
            raise InputError(f"backbone_multiplier={multiplier} has no pre-trained weights; set pretrained=false")
        widths: dict[str, Any] = (
            {} if multiplier == 1 else {"channels": tuple(round(c * multiplier) for c in (64, 128, 256, 512))}
        )
        try:
            body: Any = timm.create_model(
                name, pretrained=pretrained, features_only=True, output_stride=16, out_indices=(0, 4), **widths
            )
        except RuntimeError as error:
            raise InputError(f"backbone={name}: {error}; name a timm ResNet") from error
        except Exception as error:
            if not pretrained:
                raise
            cache = "the Hugging Face cache (HF_HOME)"
            raise missing_weights(f"pre-trained weights of {name}", error, "timm's file", cache) from error
        if not hasattr(body, "layer4"):
            raise InputError(f"backbone={name} has no res5 stage; name a timm ResNet such as resnet50")
        _dilate(body.layer4, 2)
        if pretrained:
            freeze_statistics(body)
        self.body = body
        self.low_channels, self.channels = body.feature_info.channels()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", channels(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", channels(IMAGENET_STD), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the low-level and the last feature of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].

        Returns:
            pool1 (B, C1, H/4, W/4) and res5 (B, C5, H/16, W/16).
        """
        first, res5 = self.body((images - self.mean) / self.std)
        return F.max_pool2d(first, 3, stride=2, padding=1), res5


def freeze_statistics(module: nn.Module) -> None:
    """Replace every batch norm below a module with `FrozenStatistics`, in place.

    Args:
        module: module to change.

    Raises:
        InputError: a batch norm is of a subclass, which may do more than normalise.
    """
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, FrozenStatistics(child))
        elif isinstance(child, nn.BatchNorm2d):
            raise InputError(
                f"the statistics of {type(child).__name__} in the pre-trained backbone cannot be frozen; name a plain "
                "ResNet such as resnet50"
            )
        else:
            freeze_statistics(child)


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Dilate every 3x3 convolution of a stage whose stride has been removed."""
    for conv in stage.modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            conv.dilation, conv.padding = (dilation, dilation), (dilation, dilation)


def channels(values: tuple[float, ...]) -> Tensor:
    """Return one value for each of R, G and B as a tensor (1, 3, 1, 1)."""
    return Tensor(values).view(1, -1, 1, 1)
