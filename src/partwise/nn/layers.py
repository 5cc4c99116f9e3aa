"""Layers that several networks are built of."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def conv_relu(
    in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1, norm: bool = False
) -> nn.Sequential:
    """Size-preserving convolution, batch norm if asked for, and ReLU; He-initialised."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, *([nn.BatchNorm2d(out_channels)] if norm else []), nn.ReLU(inplace=True))


def small(layer: Layer) -> Layer:
    """An output layer that starts near zero."""
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
