"""Convolutional recurrent units over a few feature maps: ATEN's ConvGRU (Eq. 5) and its ablation, ConvLSTM.

The paper's sigma is "the sigmoid function"; the release has Keras' default, the hard sigmoid. Both are available. As in
the release, input kernels are initialised Glorot-uniform and recurrent kernels orthogonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from partwise.errors import InputError

Sigmoid = Literal["logistic", "hard"]


class ConvGRU(nn.Module):
    """h_t = (1 - z) h_{t-1} + z h', with convolutions in place of matrix products (ATEN Eq. 5).

    Args:
        channels: channels of the inputs and of the state.
        kernel: side of the kernels in pixels, odd.
        update_bias: initial bias of the update gate z; 0 in the release. Negative values keep more of the initial
            state, the mean of the features; at -2.5 the hard sigmoid is 0.
        sigmoid: sigma of the gates, "logistic" as in the paper or "hard" as in the release.

    Raises:
        InputError: `sigmoid` is neither of these.
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
        """Compute one step of Eq. 5.

        Args:
            x: (B, C, H, W) input.
            h: (B, C, H, W) state.

        Returns:
            the next state (B, C, H, W).
        """
        x_z, x_r, x_h = self.inputs(x).chunk(3, 1)
        h_z, h_r = self.gates(h).chunk(2, 1)
        z, r = self.sigma(x_z + h_z), self.sigma(x_r + h_r)
        return (1 - z) * h + z * torch.tanh(x_h + self.candidate(r * h))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute the last state after features (B, C, H, W), oldest first; the initial state is their mean (Eq. 4)."""
        h = torch.stack(list(features)).mean(0)
        for x in features:
            h = self.step(x, h)
        return h


class ConvLSTM(nn.Module):
    """The ablation of ConvGRU with a memory cell (Shi et al., NeurIPS 2015); state and cell start at zero.

    Args:
        channels: channels of the inputs, of the state and of the cell.
        kernel: side of the kernels in pixels, odd.
        sigmoid: sigma of the gates, "logistic" or "hard".

    Raises:
        InputError: `sigmoid` is neither of these.
    """

    def __init__(self, channels: int, kernel: int = 3, sigmoid: Sigmoid = "logistic") -> None:
        super().__init__()
        self.sigma = _sigma(sigmoid)
        self.inputs = _input_conv(channels, 4, kernel)  # input, forget, output, cell
        self.states = _state_conv(channels, 4, kernel)
        bias = self.inputs.bias
        assert bias is not None
        nn.init.ones_(bias.data[channels : 2 * channels])  # the forget gate starts open

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one step.

        Args:
            x: (B, C, H, W) input.
            h: (B, C, H, W) state.
            c: (B, C, H, W) cell.

        Returns:
            the next state and the next cell, (B, C, H, W) each.
        """
        i, f, o, g = (self.inputs(x) + self.states(h)).chunk(4, 1)
        c = self.sigma(f) * c + self.sigma(i) * torch.tanh(g)
        return self.sigma(o) * torch.tanh(c), c

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute the last state after features (B, C, H, W), oldest first."""
        h = c = torch.zeros_like(features[0])
        for x in features:
            h, c = self.step(x, h, c)
        return h


class Mean(nn.Module):
    """The mean of the features: the ablation without recurrent units."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute the mean of features (B, C, H, W)."""
        return torch.stack(list(features)).mean(0)


def hard_sigmoid(x: Tensor) -> Tensor:
    """Compute clip(0.2 x + 0.5, 0, 1), the release's sigma, elementwise."""
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
