"""Invert and compose stacks (S, 2, 3) of affine maps of the plane."""

from __future__ import annotations

import numpy as np

from partwise.arrays import Float64Array


def invert(maps: Float64Array) -> Float64Array:
    """Invert affine maps (S, 2, 3).

    A map that crushes everything to a line gets an approximate inverse: nothing of it is seen.
    """
    a, b, c, d = maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1]
    determinant = a * d - b * c
    determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
    linear = np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2) / determinant[:, None, None]
    offset = -np.einsum("sij,sj->si", linear, maps[:, :, 2])
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def compose(outer: Float64Array, inner: Float64Array) -> Float64Array:
    """Compose affine maps.

    Args:
        outer: (S, 2, 3).
        inner: (S, 2, 3).

    Returns:
        Maps (S, 2, 3) that take p to outer(inner(p)).
    """
    product: Float64Array = np.einsum("sij,sjk->sik", outer[:, :, :2], inner)
    product[:, :, 2] += outer[:, :, 2]
    return product
