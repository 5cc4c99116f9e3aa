"""Convolutions as one matrix product, for a CPU: faster where the weights are many and the positions or results few.

There the library's convolution takes most of its time to arrange the weights, anew in every call. On other devices
these layers are the library's.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FEW_PATCHES = 16  # positions of the result, of all samples together, up to which gathering patches pays
FEW_SPREAD = 512  # positions of the input up to which adding up pays


class PatchConv2d(nn.Conv2d):
    """A convolution with square kernels that multiplies its weights with the patches around few positions."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W') as `nn.Conv2d` has it."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[-2:])
        if x.device.type != "cpu" or len(x) * height * width > FEW_PATCHES:
            return super().forward(x)
        patches = F.unfold(x, kernel, padding=padding, stride=stride)
        product = self.weight.flatten(1) @ patches.transpose(0, 1).flatten(1)
        return _with_bias(product.unflatten(1, (len(x), height, width)).transpose(0, 1), self.bias)


class SpreadConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with square kernels that multiplies with all weights at once and adds up what meets."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W') as `nn.ConvTranspose2d` has it."""
        if x.device.type != "cpu" or output_size is not None or x[:, 0].numel() > FEW_SPREAD:
            return super().forward(x, output_size)
        return _with_bias(_spread(x, self.weight, self.stride[0], int(self.padding[0])), self.bias)


class SpreadConv2d(nn.Conv2d):
    """A convolution to few channels that keeps the size: every position adds its share to those around it."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W) as `nn.Conv2d` has it."""
        if x.device.type != "cpu":
            return super().forward(x)
        return _with_bias(_spread(x, self.weight.flip(2, 3).transpose(0, 1), 1, int(self.padding[0])), self.bias)


def _spread(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Product of x (B, C, H, W) and weight (C, C', k, k), added up where windows meet: (B, C', H', W')."""
    kernel = weight.shape[-1]
    height, width = ((side - 1) * stride - 2 * padding + kernel for side in x.shape[-2:])
    product = weight.flatten(1).t() @ x.transpose(0, 1).flatten(1)
    shares = product.unflatten(1, (len(x), -1)).transpose(0, 1)
    return F.fold(shares, (height, width), kernel, padding=padding, stride=stride)


def _with_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.view(1, -1, 1, 1)
