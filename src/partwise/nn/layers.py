"""Layers that several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from partwise.ops.resize import canvas_size

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv_relu(
    in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, norm: bool = False, stride: int = 1
) -> nn.Sequential:
    """Build a convolution with optional batch norm and ReLU; He-initialised. At stride 1 it preserves the size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the kernel in pixels, odd.
        dilation: dilation of the kernel.
        norm: batch norm in place of the bias.
        stride: of the convolution; sides that it divides shrink to sides / stride.

    Returns:
        the layers in order.
    """
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, *([nn.BatchNorm2d(out_channels)] if norm else []), nn.ReLU(inplace=True))


def near_zero(layer: Layer) -> Layer:
    """Initialise an output layer near zero, in place: weights N(0, 0.01), biases 0.

    Args:
        layer: layer to initialise.

    Returns:
        the layer.
    """
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def scaled_dilations(released: Sequence[int], image_size: int | Sequence[int], reference: int) -> tuple[int, ...]:
    """Compute the dilations for an input size: the released ones, or smaller ones for inputs below their own size.

    They scale with the longer side, so that they cover the same fraction of the input.

    Args:
        released: the paper's dilations.
        image_size: side of the square input in pixels, or its (height, width).
        reference: longer side in pixels of the input for which the `released` ones are given.

    Returns:
        as many dilations as `released`, at least 1.
    """
    side = min(max(canvas_size(image_size)), reference)
    return tuple(max(1, round(dilation * side / reference)) for dilation in released)


def enlarge(maps: Tensor, like: Tensor) -> Tensor:
    """Upsample maps to the size of others, bilinearly with `align_corners=True`.

    Corner pixels of both coincide, which is exact where a map at stride 8 meets sides of 8n + 1 pixels.

    Args:
        maps: (B, C, h, w).
        like: (B, any, H, W), such as the images that the maps are of.

    Returns:
        (B, C, H, W).
    """
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=True)
