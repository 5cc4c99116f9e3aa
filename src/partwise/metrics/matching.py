"""Which predicted objects of one image find a true one: overlaps of disjoint objects and two matchings.

NumPy, because the arrays are tiny: what is large, the label maps, is reduced to counts in `joint_histogram`.
n predicted objects, m true ones, T thresholds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def joint_histogram(preds: Tensor, target: Tensor, n: int, m: int) -> Ints:
    """Pixels shared by every predicted and every true object, in one pass over the maps.

    Args:
        preds: (H, W) integer ids 0..n, 0 = nobody.
        target: (H, W) integer ids 0..m, 0 = nobody.
        n: predicted objects.
        m: true objects.

    Returns:
        (n + 1, m + 1) pixel counts.

    Raises:
        ValueError: the sizes differ, or an id has no row.
    """
    if preds.shape != target.shape:
        raise ValueError(f"the predicted map is {tuple(preds.shape)}, the true one {tuple(target.shape)}")
    for name, ids, count in (("predicted", preds, n), ("true", target, m)):
        low, high = (int(x) for x in ids.aminmax())
        if low < 0 or high > count:
            raise ValueError(f"the {name} map holds id {low if low < 0 else high} but has {count} rows")
    pairs = preds.flatten().long().mul(m + 1).add_(target.flatten().to(preds.device))
    counts: Ints = pairs.bincount(minlength=(n + 1) * (m + 1)).view(n + 1, m + 1).cpu().numpy()
    return counts


def overlaps(counts: Ints) -> Floats:
    """(n, m) IoUs from the (n + 1, m + 1) joint histogram; 0 where an object has no pixels."""
    shared = counts[1:, 1:]
    union = counts.sum(1)[1:, None] + counts.sum(0)[None, 1:] - shared
    ious: Floats = shared / np.maximum(union, 1)
    return ious


def match_authors(ious: Floats, thresholds: Floats) -> Bools:
    """True positives without one-to-one matching, as the released VIP evaluator has them.

    Args:
        ious: (n, m) IoUs, 0 between objects of different classes.
        thresholds: (T,) in [0, 1).

    Returns:
        (n, T): the best object has IoU > t. Any number of detections may share an object.
    """
    true: Bools = ious.max(1, initial=0.0)[:, None] > thresholds
    return true


def match_one_to_one(ious: Floats, scores: Floats, thresholds: Floats) -> Bools:
    """True positives where each object is found once (Hariharan et al., ECCV 2014).

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


def average_precision(hits: Bools, objects: int) -> Floats:
    """Area under the precision-recall curve, at all points, under the monotone envelope (VOC 2010).

    Args:
        hits: (N, ...) true positives, descending score.
        objects: true objects; without one-to-one matching there may be more hits, and areas beyond 1.

    Returns:
        (...) fractions; NaN where there is nothing to find.
    """
    if objects == 0:
        return np.full(hits.shape[1:], np.nan)
    rank = np.arange(1, len(hits) + 1).reshape(-1, *[1] * (hits.ndim - 1))
    precision = hits.cumsum(0) / rank
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area: Floats = (envelope * hits).sum(0) / objects  # recall grows by 1 / objects at every hit
    return area
