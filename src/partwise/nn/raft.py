"""RAFT (Teed and Deng, ECCV 2020), torchvision's, as an estimator of flow that is not trained here."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights, raft_large, raft_small

from partwise.nn.weights import TORCH_HUB, missing_weights

MULTIPLE = 8  # that the sides of its input are multiples of
LEAST = 128  # of the sides: its coarsest correlations need as many


class RAFT(nn.Module):
    """Estimates flow with torchvision's trained weights.

    Args:
        size: "large" or "small".
        pretrained: whether to load torchvision's weights.
        updates: of the recurrent unit.

    Raises:
        InputError: the weights cannot be loaded.
    """

    def __init__(self, size: Literal["large", "small"] = "large", pretrained: bool = True, updates: int = 12) -> None:
        super().__init__()
        build, weights = (
            (raft_large, Raft_Large_Weights.DEFAULT) if size == "large" else (raft_small, Raft_Small_Weights.DEFAULT)
        )
        try:
            self.net = build(weights=weights if pretrained else None)
        except Exception as error:
            file = weights.url.rsplit("/", 1)[-1]
            raise missing_weights(
                f"RAFT's weights ({size})", error, file, TORCH_HUB, "take OpenCV's flow: model/flow@model.flow=dis"
            ) from error
        self.net.requires_grad_(False).eval()
        self.updates = updates

    def train(self, mode: bool = True) -> RAFT:
        """Stay in evaluation mode: it is not trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Estimate the flow between images.

        Args:
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 2, H, W) flow from target to source, pixels.
        """
        height, width = target.shape[-2:]
        right, below = (max(LEAST, -(-side // MULTIPLE) * MULTIPLE) - side for side in (width, height))
        pair = (F.pad(2 * x - 1, (0, right, 0, below), mode="replicate") for x in (target, source))
        flow: Tensor = self.net(*pair, num_flow_updates=self.updates)[-1]
        return flow[..., :height, :width]
