"""Gaussian filters of images as exact sums over a window, each pixel's one weighted lookup of rows.

Rows of a matrix (N, L) are gathered, weighted and summed by `embedding_bag`, which needs neither a copy of the window
for each label, as unfolding does, nor a compiler.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


class Windows:
    """Weighted sums of values over each pixel's window; a symmetric matrix (N, N) of which few entries are not 0.

    Args:
        index: (N, K) int32 pixels in each window.
        weights: (N, K) their weights; 0 where a window reaches beyond the image.
    """

    def __init__(self, index: Tensor, weights: Tensor) -> None:
        self.index, self.weights = index, weights

    def apply(self, values: Tensor) -> Tensor:
        """Filter values (N, L), one row a pixel."""
        return F.embedding_bag(self.index, values, mode="sum", per_sample_weights=self.weights)

    transpose = apply  # the weight of p in q's window is that of q in p's


class Separable:
    """A vertical and a horizontal filter in a row.

    Args:
        vertical: filter along columns.
        horizontal: filter along rows.
    """

    def __init__(self, vertical: Windows, horizontal: Windows) -> None:
        self.vertical, self.horizontal = vertical, horizontal

    def apply(self, values: Tensor) -> Tensor:
        """Filter values (N, L), one row a pixel."""
        return self.horizontal.apply(self.vertical.apply(values))

    transpose = apply  # they act on different axes, so that their order does not matter


def bilateral(image: Tensor, theta_position: float, theta_color: float, radius: int) -> Windows:
    """Make the bilateral filter: exp(-|p - q|^2 / 2 theta_position^2 - |I_p - I_q|^2 / 2 theta_color^2).

    Args:
        image: (C, H, W).
        theta_position: pixels.
        theta_color: units of the image.
        radius: of the square window, pixels.

    Returns:
        the filter of that image's N = H W pixels.
    """
    height, width = image.shape[1:]
    side = 2 * radius + 1
    scaled = image / theta_color
    around = F.pad(scaled, [radius] * 4, value=torch.inf)  # infinitely unlike: weight 0
    steps = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype) / theta_position
    weights = image.new_empty(height, width, side, side)
    for row in range(side):  # a row of all windows at a time keeps memory low
        near = around[:, row : row + height].unfold(2, side, 1)
        exponent = (near - scaled[..., None]).square_().sum(0).add_(steps.square() + steps[row] ** 2)
        torch.exp(exponent.mul_(-0.5), out=weights[:, :, row])
    return Windows(_window_index(height, width, radius, radius, image.device), weights.view(height * width, -1))


def gaussian(height: int, width: int, theta: float, radius: int, like: Tensor) -> Separable:
    """Make the spatial filter exp(-|p - q|^2 / 2 theta^2), one axis after the other.

    Args:
        height: of the image.
        width: of the image.
        theta: pixels.
        radius: of the window, pixels.
        like: a tensor of the wanted dtype and device.

    Returns:
        the filter of N = H W pixels.
    """
    steps = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype) / theta
    taps = torch.exp(-0.5 * steps.square())
    axes = []
    for reach in ((radius, 0), (0, radius)):
        index = _window_index(height, width, *reach, like.device)
        axes.append(Windows(index, taps * _inside(height, width, *reach, like.device)))
    return Separable(*axes)


@lru_cache(maxsize=6)
def _window_index(height: int, width: int, down: int, across: int, device: torch.device) -> Tensor:
    """(H W, K) int32 pixels of each window, row by row; those beyond the image are some pixel of it."""
    ys, xs = (torch.arange(side, device=device, dtype=torch.int32) for side in (height, width))
    dy, dx = (torch.arange(-reach, reach + 1, device=device, dtype=torch.int32) for reach in (down, across))
    rows = (ys[:, None] + dy).clamp(0, height - 1) * width
    columns = (xs[:, None] + dx).clamp(0, width - 1)
    return (rows[:, None, :, None] + columns[None, :, None, :]).view(height * width, -1)


@lru_cache(maxsize=6)
def _inside(height: int, width: int, down: int, across: int, device: torch.device) -> Tensor:
    """(H W, K) bool: which pixels of each window lie in the image."""
    ys, xs = (torch.arange(side, device=device) for side in (height, width))
    dy, dx = (torch.arange(-reach, reach + 1, device=device) for reach in (down, across))
    rows, columns = ys[:, None] + dy, xs[:, None] + dx
    rows, columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    return (rows[:, None, :, None] & columns[None, :, None, :]).view(height * width, -1)


def radius_for(theta: float, tolerance: float) -> int:
    """Find the smallest radius of a square window with all but `tolerance` of the mass of a Gaussian of width theta.

    Args:
        theta: pixels.
        tolerance: share of the mass that may lie outside, above 0.

    Returns:
        pixels.
    """
    reach = torch.arange(int(10 * theta) + 2, dtype=torch.float64)
    mass = torch.exp(-0.5 * (reach / theta).square()) * torch.where(reach > 0, 2, 1)
    inside = (mass.cumsum(0) / mass.sum()).square()  # of both axes
    return int((inside < 1 - tolerance).sum())
