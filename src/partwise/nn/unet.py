"""The U-Net of pix2pix (Isola et al., CVPR 2017): an encoder to one pixel, a decoder, and skips at every scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDEST = 8  # times the first layer's channels
_DROPPED = 4  # decoder layers from this one on drop units, but for the innermost
_SLOPE = 0.2  # of the encoder's leaky ReLU


class UNet(nn.Module):
    """A U-Net of 4 x 4 convolutions with stride 2; `unet_256` by default.

    Layers are normalised by instance, without weights, but for the first, the innermost and the last. Weights start at
    N(0, 0.02), biases at 0.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        depth: number of scales; the input's sides are multiples of 2 ** depth.
        width: channels of the first layer; they double at each scale up to eight times as many.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int = 8, width: int = 64) -> None:
        super().__init__()
        channels = [width * min(2**level, _WIDEST) for level in range(depth)]
        self.depth = depth
        self.downs = nn.ModuleList(_down([in_channels, *channels], level, depth) for level in range(depth))
        self.ups = nn.ModuleList(_up([out_channels, *channels], level, depth) for level in range(depth))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            (B, out_channels, H, W).

        Raises:
            ValueError: a side is no multiple of 2 ** depth.
        """
        if any(side % 2**self.depth for side in x.shape[-2:]):
            raise ValueError(f"sides {tuple(x.shape[-2:])} are no multiples of {2**self.depth}")
        features = []
        for down in self.downs:
            x = down(x)
            features.append(x)
        x = self.ups[-1](features.pop())
        for up in reversed(self.ups[:-1]):
            x = up(torch.cat([features.pop(), x], 1))
        return x


def _down(channels: list[int], level: int, depth: int) -> nn.Sequential:
    """A layer of the encoder: from `channels[level]` to the next."""
    conv = nn.Conv2d(channels[level], channels[level + 1], 4, 2, 1)
    before = [nn.LeakyReLU(_SLOPE)] if level else []
    after = [nn.InstanceNorm2d(channels[level + 1])] if 0 < level < depth - 1 else []
    return nn.Sequential(*before, conv, *after)


def _up(channels: list[int], level: int, depth: int) -> nn.Sequential:
    """A layer of the decoder: from `channels[level + 1]`, twice but for the innermost, to the one before."""
    innermost = level == depth - 1
    entering = channels[level + 1] * (1 if innermost else 2)
    layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(entering, channels[level], 4, 2, 1)]
    if level:
        layers.append(nn.InstanceNorm2d(channels[level]))
    if level >= _DROPPED and not innermost:
        layers.append(nn.Dropout(0.5))
    return nn.Sequential(*layers)
