"""Match predicted with true objects of one image: overlaps of disjoint objects and three matchings.

NumPy, because the arrays are tiny: what is large, the label maps, is reduced to counts in `joint_histogram`.
n predicted objects, m true ones, T thresholds.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from partwise.arrays import BoolArray, Float64Array, Int64Array


def overlaps(counts: Int64Array) -> Float64Array:
    """Compute the IoUs of predicted with true objects.

    Args:
        counts: (n + 1, m + 1) joint histogram of pixels, row and column 0 = nobody.

    Returns:
        (n, m) IoUs; 0 where an object has no pixels.
    """
    shared = counts[1:, 1:]
    union = counts.sum(1)[1:, None] + counts.sum(0)[None, 1:] - shared
    ious: Float64Array = shared / np.maximum(union, 1)
    return ious


def match_authors(ious: Float64Array, thresholds: Float64Array) -> BoolArray:
    """Find true positives without one-to-one matching, as the released VIP evaluator does.

    Args:
        ious: (n, m) IoUs, 0 between objects of different classes.
        thresholds: (T,) in [0, 1).

    Returns:
        (n, T): the best object has IoU > t. Any number of detections may share an object.
    """
    true: BoolArray = ious.max(1, initial=0.0)[:, None] > thresholds
    return true


def match_one_to_one(ious: Float64Array, scores: Float64Array, thresholds: Float64Array) -> BoolArray:
    """Find true positives where each object is found once (Hariharan et al., ECCV 2014).

    Args:
        ious: (n, m) IoUs, 0 between objects of different classes.
        scores: (n,) ties go to the lower row.
        thresholds: (T,) in [0, 1).

    Returns:
        (n, T): by descending score, each detection takes the best still free object with IoU > t.
    """
    hits = match_authors(ious, thresholds)
    within_reach = ious > thresholds.min()
    contested = (within_reach & (within_reach.sum(0) > 1)).any(1)  # the others have their objects to themselves
    free = np.ones((ious.shape[1], len(thresholds)), dtype=np.bool_)
    columns = np.arange(len(thresholds))
    order = np.argsort(-scores, kind="stable")
    for row in order[contested[order]]:
        candidates = np.where(free, ious[row, :, None], 0.0)  # (m, T)
        best = candidates.argmax(0)
        hit = candidates[best, columns] > thresholds
        hits[row] = hit
        free[best[hit], columns[hit]] = False
    return hits


def match_most(similarities: Float64Array, least: float) -> Int64Array:
    """Match one to one so that the similarities of the pairs sum to the most (Hungarian method).

    Args:
        similarities: (n, m).
        least: pairs below it do not match, nor do they affect the others.

    Returns:
        (k, 2) rows and columns of the pairs, by ascending row.
    """
    allowed = (similarities >= least) & (similarities > 0)
    rows, columns = linear_sum_assignment(np.where(allowed, similarities, 0), maximize=True)
    matched = allowed[rows, columns]
    return np.stack([rows[matched], columns[matched]], 1).astype(np.int64)
