"""Image backbones from timm, with the strides and dilations that the papers use."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from timm.layers.format import Format
from timm.layers.norm_act import BatchNormAct2d
from timm.models import load_state_dict
from torch import Tensor, nn

from partwise.checkpoints.reading import UnfitError
from partwise.checkpoints.standin import Pretrained, initial_weights, trunk
from partwise.errors import InputError
from partwise.nn.weights import missing_weights

# A classifier's head is left out on purpose; timm tells of each of its weights.
logging.getLogger("timm.models._builder").addFilter(lambda record: "Unexpected keys" not in record.getMessage())

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LowLevel = Literal["pool1", "res2"]


class FrozenStatistics(nn.Module):
    """Batch norm whose mean and variance are frozen, in training too; gamma and beta train.

    It does not derive from `BatchNorm2d`, so neither `train()` nor conversion to `SyncBatchNorm` changes it. Its state
    dict has the same names, so weights of one load into the other.

    Args:
        norm: batch norm whose parameters and statistics are taken over, and in timm's form its dropout and activation.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)
        self.after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute gamma (x - mean) / sqrt(variance + eps) + beta of x (B, C, H, W), then what comes `after`."""
        return self.after(F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps))


class Backbone(nn.Module):
    """A timm backbone that returns a low-level feature at stride 4 and its last feature, at stride 16 if it can dilate.

    ResNets follow ATEN's released network: strides 4, 8, 16, 16; every 3x3 convolution of res5 dilated by 2; the
    low-level feature is pool1, the max-pooled first activation, taken before res2, unless `low` is res2. timm's
    ResNets differ in two points. The first block of a dilated stage keeps dilation 1, which is corrected here. A
    bottleneck's stride sits on its 3x3 convolution, which is kept. Other families keep timm's dilation and have no
    pool1: the low-level feature is their own at stride 4. Those that cannot dilate, transformers among them, keep their
    own last stride, 32.

    With pre-trained weights, batch-norm statistics are frozen while gamma and beta train. From scratch the statistics
    train too: if they were frozen, zero-initialised residual branches would get no gradient.

    Args:
        name: name of a timm model with features at strides 4 and 16 or 32, for images of any size.
        pretrained: initial weights: timm's of ImageNet; "standin", partwise's own of rendered people; or "none".
        multiplier: factor on the four stages' widths of a ResNet; 1 with timm's weights.
        weights: file with timm's weights for the model, with or without its head, in place of `pretrained`.
        stride: of the last feature: 16, or for ResNets 8, with res4 dilated by 2 and res5 by 4.
        low: a ResNet's low-level feature: pool1 as in ATEN, or res2 as in DeepLabv3+.
        in_channels: channels of the input. Those behind R, G and B are not normalised, and their weights start at 0.

    Raises:
        InputError: `name` is no such model, its weights cannot be loaded, or `multiplier` has none.
    """

    def __init__(
        self,
        name: str = "resnet50",
        pretrained: Pretrained = "imagenet",
        multiplier: float = 1.0,
        weights: str | None = None,
        stride: Literal[8, 16] = 16,
        low: LowLevel = "pool1",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.body, source = _trunk(name, pretrained, multiplier, weights, stride, low)
        if hasattr(self.body, "layer4"):
            _dilate(self.body.layer4, 32 // stride)
        if stride == 8:
            _dilate(self.body.layer3, 2)
        if source != "none" or weights:
            freeze_statistics(self.body)
        add_input_channels(self.body, in_channels - 3)
        self.pools = self.body.feature_info.reduction()[0] == 2
        self.channels_last = getattr(self.body, "output_fmt", None) == Format.NHWC
        self.low_channels, self.channels = self.body.feature_info.channels()
        self.mean: Tensor
        self.std: Tensor
        for key, values in _colours(name).items():
            self.register_buffer(key, values, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the low-level and the last feature of images.

        Args:
            images: (B, in_channels, H, W), RGB in [0, 1] first.

        Returns:
            pool1 or res2 (B, C1, H/4, W/4) and res5 (B, C5, H/16, W/16), or what stands for them.
        """
        colours = (images[:, :3] - self.mean) / self.std
        first, last = self.body(torch.cat([colours, images[:, 3:]], 1) if images.shape[1] > 3 else colours)
        if self.channels_last:
            first, last = first.permute(0, 3, 1, 2), last.permute(0, 3, 1, 2)
        return F.max_pool2d(first, 3, stride=2, padding=1) if self.pools else first, last


class Stages(nn.Module):
    """A timm ResNet that returns the features of its four stages, undilated, as feature pyramids take them.

    Batch norm is treated as in `Backbone`.

    Args:
        name: name of a timm ResNet.
        pretrained: initial weights: timm's of ImageNet; "standin", partwise's own of rendered people; or "none".
        multiplier: factor on the four stages' widths; 1 with timm's weights.
        weights: file with timm's weights for the model, with or without its head, in place of `pretrained`.

    Attributes:
        channels: C1 to C4 of the stages.

    Raises:
        InputError: `name` is no ResNet, its weights cannot be loaded, or `multiplier` has none.
    """

    def __init__(
        self,
        name: str = "resnet50",
        pretrained: Pretrained = "imagenet",
        multiplier: float = 1.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.body, source = _trunk(name, pretrained, multiplier, weights, 32, "pool1")
        if source != "none" or weights:
            freeze_statistics(self.body)
        self.channels: list[int] = self.body.feature_info.channels()
        self.mean: Tensor
        self.std: Tensor
        for key, values in _colours(name).items():
            self.register_buffer(key, values, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the features (B, Ci, H/s, W/s), s = 4, 8, 16 and 32, of images (B, 3, H, W) RGB in [0, 1]."""
        features: list[Tensor] = self.body((images - self.mean) / self.std)
        return features


def add_input_channels(module: nn.Module, count: int) -> None:
    """Let a network's first convolution read further input channels, in place; their weights start at 0.

    Args:
        module: network whose first convolution reads images.
        count: number of channels that are added behind the others.
    """
    if count:
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        added = first.weight.new_zeros(first.out_channels, count, *first.kernel_size)
        first.weight = nn.Parameter(torch.cat([first.weight.detach(), added], 1))
        first.in_channels += count


def freeze_statistics(module: nn.Module) -> None:
    """Replace every batch norm below a module with `FrozenStatistics`, in place.

    Args:
        module: module to change.

    Raises:
        InputError: a batch norm is of a subclass, which may do more than normalise.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and type(child) in (nn.BatchNorm2d, BatchNormAct2d):
            setattr(module, name, FrozenStatistics(child))
        elif isinstance(child, nn.BatchNorm2d):
            raise InputError(
                f"the statistics of {type(child).__name__} in the pre-trained backbone cannot be frozen; name a plain "
                "ResNet such as resnet50"
            )
        else:
            freeze_statistics(child)


def freeze_affine(module: nn.Module) -> None:
    """Let gamma and beta of every `FrozenStatistics` in a module have no gradient, so that its batch norms stay.

    Args:
        module: module to change.
    """
    for child in module.modules():
        if isinstance(child, FrozenStatistics):
            child.weight.requires_grad_(False)
            child.bias.requires_grad_(False)


def _trunk(
    name: str, pretrained: Pretrained, multiplier: float, weights: str | None, stride: int, low: LowLevel
) -> tuple[Any, Literal["imagenet", "standin", "none"]]:
    """Build a model of features with its initial weights, and say what they are."""
    if set(":/") & set(name) or not timm.is_model(name):  # timm also accepts URLs and folders
        raise InputError(f"backbone={name} is none of timm's models; name one such as resnet50 or convnext_tiny")
    source = initial_weights(pretrained)
    if multiplier != 1 and (source == "imagenet" or weights):
        raise InputError(f"backbone_multiplier={multiplier} has no pre-trained weights; set pretrained=none")
    body = _body(name, source == "imagenet", multiplier, weights, stride, low)
    if source == "standin" and weights is None:
        body.load_state_dict(trunk(f"{name} x {multiplier:g}"))
    return body, source


def _colours(name: str) -> dict[str, Tensor]:
    """The mean and standard deviation of the colours that a model was trained on."""
    settings = timm.get_pretrained_cfg(name)
    mean, std = (settings.mean, settings.std) if settings else (IMAGENET_MEAN, IMAGENET_STD)
    return {"mean": channels(mean), "std": channels(std)}


def _body(name: str, imagenet: bool, multiplier: float, weights: str | None, stride: int, low: LowLevel) -> Any:
    """Build a model that returns its features at strides 2 (a ResNet's, to be pooled) or 4, and 8 or 16.

    Those that cannot dilate end at 32. With a stride of 32 a ResNet returns its four stages.
    """
    plan = _plan(name)
    if stride != 16 and (plan["out_indices"][0] != 0 or "resnet" not in name):
        wanted = "features at stride 8" if stride == 8 else "four stages"
        raise InputError(f"backbone={name} is no ResNet; name one, such as resnet101, for {wanted}")
    if stride == 8:
        plan = {**plan, "output_stride": 8}
    elif stride == 32:
        plan = {"out_indices": (1, 2, 3, 4)}
    if low == "res2" and plan["out_indices"][0] == 0:
        plan = {**plan, "out_indices": (1, plan["out_indices"][1])}
    options: dict[str, Any] = {"features_only": True, **plan}
    if multiplier != 1:
        options["channels"] = tuple(round(c * multiplier) for c in (64, 128, 256, 512))
    if weights:
        options["pretrained_cfg_overlay"] = {"state_dict": _weights_of(name, Path(weights))}
    try:
        return timm.create_model(name, pretrained=imagenet or bool(weights), **options)
    except Exception as error:
        if weights:
            raise InputError(f"{weights} does not fit {name}: {' '.join(str(error).split())[:160]}") from error
        if not imagenet:
            raise InputError(f"backbone={name}: {error}; name another, such as resnet50") from error
        file = "timm's file (or give one as weights=FILE)"
        raise missing_weights(
            f"pre-trained weights of {name}", error, file, "the Hugging Face cache (HF_HOME)"
        ) from error


@cache
def _plan(name: str) -> dict[str, Any]:
    """Find the options with which a model gives the features wanted, from its shapes alone."""
    for options in ({"output_stride": 16}, {"strict_img_size": False}, {}):
        try:
            with torch.device("meta"):
                model: Any = timm.create_model(name, features_only=True, **options).eval()
                model(torch.zeros(1, 3, 64, 96))
        except UnfitError:  # a checkpoint has no weights for so many parameters
            raise
        except Exception:  # each family refuses options and sizes in its own way
            continue
        strides = model.feature_info.reduction()
        first = 0 if hasattr(model, "layer4") else strides.index(4) if 4 in strides else None
        if first is not None and strides[-1] in (16, 32):
            return {**options, "out_indices": (first, len(strides) - 1)}
    raise InputError(
        f"backbone={name} gives no features at strides 4 and 16 or 32 of images of any size; name another, such as "
        "resnet50, convnext_tiny or swin_tiny_patch4_window7_224"
    )


def _weights_of(name: str, file: Path) -> dict[str, Tensor]:
    """Read a model's weights from a file and check that none is missing; those of a classifier may be."""
    try:
        state: dict[str, Tensor] = load_state_dict(str(file), device="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{file} holds no weights that can be read: {' '.join(str(error).split())[:160]}") from error
    with torch.device("meta"):
        own = timm.create_model(name, num_classes=0).state_dict()
    if missing := [key for key in own if key not in state and not key.endswith("num_batches_tracked")]:
        raise InputError(f"{file} holds no {missing[0]}, one of {len(missing)} entries of {name} that it lacks")
    return state


def _dilate(stage: nn.Module, dilation: int) -> None:
    """Dilate every 3x3 convolution of a stage whose stride has been removed."""
    for conv in stage.modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            conv.dilation, conv.padding = (dilation, dilation), (dilation, dilation)


def channels(values: tuple[float, ...]) -> Tensor:
    """Return one value for each of R, G and B as a tensor (1, 3, 1, 1)."""
    return Tensor(values).view(1, -1, 1, 1)
