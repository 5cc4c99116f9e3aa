"""Gaussian filters of any width on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010).

Values are splatted onto the corners of the simplex in which a pixel's features lie, blurred along each direction of
the lattice, and sliced back. All three are weighted lookups of rows, done by `embedding_bag`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_CELLS = 2**62  # that a 64-bit key tells apart


class Lattice:
    """A filter by a lattice: about exp(-|f_p - f_q|^2 / 2), up to a factor that normalising removes.

    Args:
        features: (N, d) of the pixels, in units of the kernel's standard deviation.

    Raises:
        ValueError: the features span too many cells.
    """

    def __init__(self, features: Tensor) -> None:
        corners, weights = _enclose(features.double())
        keys, directions = _packed(corners)
        held, index = torch.unique(keys, return_inverse=True)
        self._corners = index.view(weights.shape)  # (N, d + 1)
        self._weights = weights.to(features.dtype)
        # Splatting is the transpose of slicing: for each corner, the pixels that it is a corner of.
        order = index.argsort(stable=True)
        counts = torch.bincount(index, minlength=len(held))
        self._pixels, self._starts = order // weights.shape[1], counts.cumsum(0) - counts
        self._pixel_weights = self._weights.flatten()[order]
        self._blurs = [torch.stack([_find(held, held - step), _find(held, held + step)], 1) for step in directions]

    def apply(self, values: Tensor) -> Tensor:
        """Filter values (N, L), one row a pixel."""
        return self._filter(values, self._blurs)

    def transpose(self, values: Tensor) -> Tensor:
        """Filter values (N, L) by the transposed matrix: the directions are blurred in reverse."""
        return self._filter(values, self._blurs[::-1])

    def _filter(self, values: Tensor, blurs: list[Tensor]) -> Tensor:
        weights = self._pixel_weights
        held = F.embedding_bag(self._pixels, values, self._starts, mode="sum", per_sample_weights=weights)
        held = torch.cat([held, held.new_zeros(1, held.shape[1])])  # a corner that is not there holds nothing
        for near in blurs:
            held[:-1] += F.embedding_bag(near, held, mode="sum") / 2
        return F.embedding_bag(self._corners, held, mode="sum", per_sample_weights=self._weights)


def _enclose(features: Tensor) -> tuple[Tensor, Tensor]:
    """Find the corners of the simplex that holds each feature vector.

    Args:
        features: (N, d).

    Returns:
        corners (N, d + 1, d + 1) int64, whose coordinates sum to 0, and their barycentric weights (N, d + 1).
    """
    d = features.shape[1]
    number = torch.arange(1, d + 1, device=features.device)
    # The blur's variance is that of a unit Gaussian: 2 / 3 (d + 1)^2 along each direction.
    scaled = features * ((d + 1) * (2 / 3) ** 0.5) / (number * (number + 1)).double().sqrt()
    elevated = F.pad(scaled.flip(1).cumsum(1).flip(1), (0, 1))
    elevated[:, 1:] -= number * scaled
    # The nearest point of multiples of d + 1, moved back onto the plane along the largest differences.
    nearest = (elevated / (d + 1)).round().long() * (d + 1)
    rank = (elevated - nearest).argsort(dim=1, descending=True, stable=True).argsort(dim=1) + nearest.sum(1, True) // (
        d + 1
    )
    wrapped = (rank < 0).long() - (rank > d).long()
    nearest, rank = nearest + (d + 1) * wrapped, rank + (d + 1) * wrapped
    offset = (elevated - nearest) / (d + 1)
    ascending = torch.zeros_like(offset).scatter_(1, d - rank, offset)
    weights = ascending.diff(dim=1, prepend=ascending[:, -1:] - 1)
    step = torch.arange(d + 1, device=features.device)[:, None]
    corners = nearest[:, None] + step - (d + 1) * (rank[:, None] > d - step)
    return corners, weights


def _packed(corners: Tensor) -> tuple[Tensor, list[int]]:
    """Number the corners, so that a step along a direction of the lattice adds a constant.

    Args:
        corners: (N, d + 1, d + 1); the last coordinate follows from the others.

    Returns:
        keys (N (d + 1),) int64, and the steps along the d + 1 directions.
    """
    d = corners.shape[2] - 1
    points = corners[..., :d].reshape(-1, d)
    low, high = points.aminmax(dim=0)
    spans = (high - low + 2 * (d + 1)).tolist()  # neighbours stay within
    radix = [1]
    for span in spans:
        radix.append(radix[-1] * span)
    if radix.pop() > _MOST_CELLS:
        raise ValueError(f"the features span {' x '.join(map(str, spans))} cells; take larger bandwidths")
    keys = ((points - low + d + 1) * torch.tensor(radix, device=points.device)).sum(1)
    return keys, [sum(radix) - (d + 1) * own for own in (*radix, 0)]


def _find(held: Tensor, keys: Tensor) -> Tensor:
    """Places of keys among the sorted ones that are held; one after the last for those that are not."""
    place = torch.searchsorted(held, keys).clamp(max=len(held) - 1)
    return torch.where(held[place] == keys, place, len(held))
