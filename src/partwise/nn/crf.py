"""A fully connected CRF as a layer, with learned weights (Zheng et al., ICCV 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partwise.ops.mean_field import TOLERANCE, Method, mean_field


class DenseCRF(nn.Module):
    """Refines logits of any number of labels by mean field; see `partwise.ops.mean_field`.

    All labels share the two weights, which are all that the layer learns.

    Args:
        weights: initial weights of the bilateral and of the spatial kernel.
        theta: standard deviations alpha (position, pixels) and beta (colour, 0..255) of the bilateral kernel, and gamma
            (pixels) of the spatial one.
        num_iters: updates.
        method: "window", "lattice", or "auto".
        tolerance: share of a kernel's mass that its window may leave out.
    """

    def __init__(
        self,
        weights: Sequence[float] = (8.0, 2.0),
        theta: Sequence[float] = (2.0, 8.0, 2.0),
        num_iters: int = 3,
        method: Method = "auto",
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([float(w) for w in weights]))
        self.theta, self.num_iters = tuple(theta), num_iters
        self.method: Method = method
        self.tolerance = tolerance

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Refine logits.

        Args:
            logits: (..., L, H, W).
            images: (..., 3, H, W) RGB in [0, 1], of the same size.

        Returns:
            (..., L, H, W) log-potentials; their softmax are the marginals.
        """
        return mean_field(
            logits, images * 255, self.weights, self.theta, self.num_iters, method=self.method, tolerance=self.tolerance
        )
