"""Layers that several networks share."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv_relu(
    in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, norm: bool = False
) -> nn.Sequential:
    """Build a size-preserving convolution with optional batch norm and ReLU; He-initialised.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the kernel in pixels, odd.
        dilation: dilation of the kernel.
        norm: batch norm in place of the bias.

    Returns:
        the layers in order.
    """
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=not norm)
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
