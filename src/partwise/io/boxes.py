"""What boxes and coordinates of files may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from partwise.arrays import FloatArray

#: Largest width and height of an image, in pixels.
LARGEST = (1 << 15) - 1

#: Coordinates reach at most so many times the longer side of their image, on either side of its corner. The outline of
#: a polygon takes memory by its length.
REACH = 10

#: How far they reach where no image is known, in pixels.
FARTHEST = REACH * LARGEST


def fault_of_box(corners: Sequence[float], farthest: float = FARTHEST) -> str | None:
    """Say what is wrong with a box; None if nothing is.

    Args:
        corners: x1, y1, x2, y2 in pixels, or y1, x1, y2, x2; the box may be empty.
        farthest: largest coordinate, of either sign.

    Returns:
        the rest of a sentence that begins with the box.
    """
    if not all(map(math.isfinite, corners)):
        return "is not finite"
    if max(map(abs, corners)) > farthest:
        return f"reaches beyond {farthest:g} pixels"
    if corners[2] < corners[0] or corners[3] < corners[1]:
        return "ends before it begins"
    return None


def fault_of_points(points: FloatArray) -> str | None:
    """Say what is wrong with points (..., 2) in pixels; None if nothing is. Returns the rest of a sentence on one."""
    if not np.isfinite(points).all():
        return "is not finite"
    if points.size and np.abs(points).max() > FARTHEST:
        return f"reaches beyond {FARTHEST:g} pixels"
    return None
