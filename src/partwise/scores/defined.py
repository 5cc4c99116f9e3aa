"""How an undefined metric is written."""

from __future__ import annotations

import math


def defined(value: float) -> float | None:
    """Return a metric as JSON has it: None for an undefined one, NaN."""
    return None if math.isnan(value) else float(value)
