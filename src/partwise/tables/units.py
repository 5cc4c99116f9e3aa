"""The units that metrics are logged in."""

from __future__ import annotations

import re

#: Metrics logged as fractions of 1, without their split; all others are logged in percent or in pixels.
FRACTIONS = re.compile(r"[JF]_(mean|recall|decay)|A[PR](50|75|M|L|_M|_H)?")


def is_fraction(key: str) -> bool:
    """Tell whether a metric is logged as a fraction of 1.

    Args:
        key: of the metric, with or without its split, such as "test/J_mean" or "J_mean".
    """
    return FRACTIONS.fullmatch(key.rpartition("/")[2]) is not None
