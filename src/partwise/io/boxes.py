"""What boxes and coordinates of files may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
