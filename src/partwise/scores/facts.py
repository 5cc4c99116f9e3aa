"""Compute the metrics of TCNet's tables from a confusion matrix, in NumPy alone."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from partwise.arrays import Float64Array, Int64Array


class FACTSScores(TypedDict):
    """PaperDoll's metrics in percent; NaN where undefined."""

    accuracy: float
    fg_accuracy: float  # over pixels whose true class is not background
    avg_precision: float  # averages over classes, background included, undefined ones skipped
    avg_recall: float
    avg_f1: float
    f1_per_class: list[float]


def facts_scores(confusion: Int64Array) -> FACTSScores:
    """Compute PaperDoll's metrics of the confusion matrix of a whole dataset (Yamaguchi et al., ICCV 2013).

    P_c = N_cc / column sum, R_c = N_cc / row sum, F1_c = 2 N_cc / (row sum + column sum). A class seen in ground truth
    or predictions only has F1 0, one seen in neither is skipped.

    Args:
        confusion: (C, C) pixel counts, rows = ground truth.

    Returns:
        The metrics in percent.
    """
    hits, true, called = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    f1 = _percent(2 * hits, true + called)
    return FACTSScores(
        accuracy=_mean(_percent(hits.sum()[None], true.sum()[None])),
        fg_accuracy=_mean(_percent(hits[1:].sum()[None], true[1:].sum()[None])),
        avg_precision=_mean(_percent(hits, called)),
        avg_recall=_mean(_percent(hits, true)),
        avg_f1=_mean(f1),
        f1_per_class=f1.tolist(),
    )


def _percent(part: Int64Array, whole: Int64Array) -> Float64Array:
    shares: Float64Array = np.divide(100 * part, whole, where=whole > 0, out=np.full(len(whole), np.nan))
    return shares


def _mean(values: Float64Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
