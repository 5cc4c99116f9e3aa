"""The units that tables show metrics in: percent in place of fractions, all else as logged."""

from __future__ import annotations

import re

#: Metrics logged as fractions of 1, without their split; all others are logged in the unit that is shown.
FRACTIONS = re.compile(r"[JF]_(mean|recall|decay)|(keypoints_)?A[PR](50|75|M|L|_M|_H)?")
#: Decimals of metrics that are not shown in percent: pixels, and differences of images from 0 to 3.
DIGITS = {"epe": 2, "reconstruction": 3}


def shown(key: str, value: float) -> float:
    """Return a metric in the unit that tables show.

    Args:
        key: of the metric, with or without its split, such as "test/J_mean" or "J_mean".
        value: as logged.
    """
    return 100 * value if FRACTIONS.fullmatch(_name(key)) else value


def digits(key: str) -> int:
    """Return the number of decimals that tables show of a metric.

    Args:
        key: of the metric, with or without its split.
    """
    return DIGITS.get(_name(key), 1)


def _name(key: str) -> str:
    return key.rpartition("/")[2]
