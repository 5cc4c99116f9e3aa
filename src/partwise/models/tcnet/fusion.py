"""The fusion of frames at both levels of TCNet: linear layers over frames (section 3.3, Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Start = Literal["normal", "mean"]


class PixelFusion(nn.Module):
    """The pixel-level fusion: 1x1 convolutions from the weighted scores of all frames to one (Fig. 4, above).

    Args:
        num_classes: K.
        frames: T, the current one included.
        layers: number of convolutions, with ReLU between them.
        start: initial weights: "normal", all N(0, 1), or "mean", such that the result is the frames' mean.
    """

    def __init__(self, num_classes: int, frames: int, layers: int = 1, start: Start = "normal") -> None:
        super().__init__()
        wide = num_classes * frames
        hidden = [nn.Conv2d(wide, wide, 1) for _ in range(layers - 1)]
        last = nn.Conv2d(wide, num_classes, 1, bias=False)
        self.layers = nn.Sequential(*(layer for conv in hidden for layer in (conv, nn.ReLU())), last)
        convs = [*hidden, last]
        if start == "mean":
            _start_at_mean(convs, num_classes, frames)
            return
        for conv in convs:
            nn.init.normal_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    @property
    def weights(self) -> Tensor:
        """The weights (K, T * K) of the last layer; of a single one, those of every class of every frame."""
        return self.layers.get_parameter(f"{len(self.layers) - 1}.weight")[:, :, 0, 0]

    def forward(self, scores: Sequence[Tensor]) -> Tensor:
        """Fuse T scores (B, K, H, W), the current frame's last, to one (B, K, H, W)."""
        fused: Tensor = self.layers(torch.cat(list(scores), 1))
        return fused


def _start_at_mean(convs: Sequence[nn.Conv2d], classes: int, frames: int) -> None:
    """Initialise a stack of convolutions and ReLUs so that it computes the frames' mean score m of each class.

    A single convolution does so directly. Of several, the first splits m into max(m, 0) and max(-m, 0), further ones
    pass these on unchanged, and the last takes their difference. It ignores the remaining units at first.
    """
    *hidden, last = convs
    mean = torch.eye(classes).repeat(1, frames) / frames
    signs = torch.cat([torch.eye(classes), -torch.eye(classes)])  # (2K, K)
    with torch.no_grad():
        for i, conv in enumerate(hidden):
            assert conv.bias is not None
            rows = torch.eye(conv.in_channels)[: 2 * classes] if i else signs @ mean
            conv.weight[: 2 * classes] = rows[..., None, None]
            conv.bias[: 2 * classes] = 0
        if hidden:
            mean = F.pad(signs.T, [0, last.in_channels - 2 * classes])
        last.weight.copy_(mean[..., None, None])


class FrameFusion(nn.Module):
    """The frame-level fusion: the weighted sum of the frames' presences (Fig. 4, below).

    Args:
        classes: weights per frame: K, or 1 for one that all classes share.
        frames: T, the current one included.
        start: initial weights: "normal", N(0, 1), or "mean", 1 / T.
    """

    def __init__(self, classes: int, frames: int, start: Start = "normal") -> None:
        super().__init__()
        weights = torch.full((frames, classes), 1 / frames) if start == "mean" else torch.randn(frames, classes)
        self.weights = nn.Parameter(weights)

    def forward(self, presences: Sequence[Tensor]) -> Tensor:
        """Fuse T presences (B, K), the current frame's last, to one (B, K)."""
        return (torch.stack(list(presences), 1) * self.weights).sum(1)
