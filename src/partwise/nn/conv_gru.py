"""Convolutional recurrent units over a few feature maps: ATEN's ConvGRU (Eq. 5), and ConvLSTM, its ablation.

The paper's sigma is "the sigmoid function", the release's the hard sigmoid, Keras' default; both are here. As in the
release, input kernels start Glorot-uniform, recurrent ones orthogonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from partwise.errors import InputError

Sigmoid = Literal["logistic", "hard"]


class ConvGRU(nn.Module):
    """h_t = (1 - z) h_{t-1} + z h', with convolutions for products (ATEN Eq. 5).

    Args:
        channels: of inputs and state.
        kernel: side of the kernels.
        update_bias: of the update gate at the start; zero as released. Below zero the state, at first the mean of the
            features, is kept: -2.5 closes the gate in the middle of the hard sigmoid's range.
        sigmoid: sigma of the gates; "logistic" in the paper, "hard" in the release.
    """

    def __init__(self, channels: int, kernel: int = 3, update_bias: float = 0.0, sigmoid: Sigmoid = "logistic") -> None:
        super().__init__()
        self.channels, self.sigma = channels, _sigma(sigmoid)
        self.inputs = _input_conv(channels, 3, kernel)  # z, r, h'
        assert self.inputs.bias is not None
        nn.init.constant_(self.inputs.bias.data[:channels], update_bias)
        self.gates = _state_conv(channels, 2, kernel)  # z, r
        self.candidate = _state_conv(channels, 1, kernel)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """One step of Eq. 5 from x, h (B, C, H, W) to the next h."""
        x_z, x_r, x_h = self.inputs(x).chunk(3, 1)
        h_z, h_r = self.gates(h).chunk(2, 1)
        z, r = self.sigma(x_z + h_z), self.sigma(x_r + h_r)
        return (1 - z) * h + z * torch.tanh(x_h + self.candidate(r * h))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The last state after features (B, C, H, W), the first state being their mean (Eq. 4)."""
        h = torch.stack(list(features)).mean(0)
        for x in features:
            h = self.step(x, h)
        return h


class ConvLSTM(nn.Module):
    """The same with a memory cell (Shi et al., NeurIPS 2015), from a state of zeros.

    Args:
        channels: of inputs and state.
        kernel: side of the kernels.
        sigmoid: see `ConvGRU`.
    """

    def __init__(self, channels: int, kernel: int = 3, sigmoid: Sigmoid = "logistic") -> None:
        super().__init__()
        self.sigma = _sigma(sigmoid)
        self.inputs = _input_conv(channels, 4, kernel)  # input, forget, output, cell
        self.states = _state_conv(channels, 4, kernel)
        bias = self.inputs.bias
        assert bias is not None
        nn.init.ones_(bias.data[channels : 2 * channels])  # remember at first

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """From x, h and the cell c (B, C, H, W) to the next h and c."""
        i, f, o, g = (self.inputs(x) + self.states(h)).chunk(4, 1)
        c = self.sigma(f) * c + self.sigma(i) * torch.tanh(g)
        return self.sigma(o) * torch.tanh(c), c

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The last state after features (B, C, H, W)."""
        h = c = torch.zeros_like(features[0])
        for x in features:
            h, c = self.step(x, h, c)
        return h


class Mean(nn.Module):
    """The mean of the features: what is left of the recurrent units without their gates."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of each (B, C, H, W)."""
        return torch.stack(list(features)).mean(0)


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(0.2 x + 0.5, 0, 1), the release's sigma."""
    return (0.2 * x + 0.5).clamp(0, 1)


SIGMOIDS: dict[Sigmoid, Callable[[Tensor], Tensor]] = {"logistic": torch.sigmoid, "hard": hard_sigmoid}


def _sigma(name: Sigmoid) -> Callable[[Tensor], Tensor]:
    if name not in SIGMOIDS:
        raise InputError(f"sigmoid={name} does not exist; it is one of {', '.join(SIGMOIDS)}")
    return SIGMOIDS[name]


def _input_conv(channels: int, gates: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, gates * channels, kernel, padding=kernel // 2)
    for weight in conv.weight.data.chunk(gates):
        nn.init.xavier_uniform_(weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _state_conv(channels: int, gates: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, gates * channels, kernel, padding=kernel // 2, bias=False)
    for weight in conv.weight.data.chunk(gates):
        nn.init.orthogonal_(weight)
    return conv
