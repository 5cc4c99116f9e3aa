"""Convolutions as one matrix product, faster on a CPU with many weights and few positions or few output channels.

There PyTorch's convolution spends most of its time on rearranging the weights, in every call. On other devices these
layers are PyTorch's.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FEW_PATCHES = 16  # output positions, all samples together, up to which gathering patches is faster
FEW_SPREAD = 512  # input positions up to which summing overlaps is faster


class PatchConv2d(nn.Conv2d):
    """A convolution with square kernels; if positions are few, one product of the weights with the gathered patches."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution (B, C', H', W') of x (B, C, H, W), as `nn.Conv2d` does."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[-2:])
        if x.device.type != "cpu" or len(x) * height * width > FEW_PATCHES:
            return super().forward(x)
        patches = F.unfold(x, kernel, padding=padding, stride=stride)
        product = self.weight.flatten(1) @ patches.transpose(0, 1).flatten(1)
        return _with_bias(product.unflatten(1, (len(x), height, width)).transpose(0, 1), self.bias)


class SpreadConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with square kernels, computed as one product whose overlapping windows are summed."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Compute the transposed convolution, as `nn.ConvTranspose2d` does.

        Args:
            x: (B, C, H, W).
            output_size: (H', W') of the result; given one, PyTorch's implementation runs.

        Returns:
            (B, C', H', W').
        """
        if x.device.type != "cpu" or output_size is not None or x[:, 0].numel() > FEW_SPREAD:
            return super().forward(x, output_size)
        return _with_bias(_spread(x, self.weight, self.stride[0], int(self.padding[0])), self.bias)


class SpreadConv2d(nn.Conv2d):
    """A size-preserving convolution to few channels, computed as one product whose overlapping windows are summed."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution (B, C', H, W) of x (B, C, H, W), as `nn.Conv2d` does."""
        if x.device.type != "cpu":
            return super().forward(x)
        return _with_bias(_spread(x, self.weight.flip(2, 3).transpose(0, 1), 1, int(self.padding[0])), self.bias)


def _spread(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Multiply x (B, C, H, W) by weight (C, C', k, k) and sum overlapping windows: (B, C', H', W')."""
    kernel = weight.shape[-1]
    height, width = ((side - 1) * stride - 2 * padding + kernel for side in x.shape[-2:])
    product = weight.flatten(1).t() @ x.transpose(0, 1).flatten(1)
    shares = product.unflatten(1, (len(x), -1)).transpose(0, 1)
    return F.fold(shares, (height, width), kernel, padding=padding, stride=stride)


def _with_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.view(1, -1, 1, 1)
