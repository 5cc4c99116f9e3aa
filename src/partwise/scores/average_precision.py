"""Compute AP^r from what the images of a dataset add to it, in NumPy alone: scoring files needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypedDict

import numpy as np

from partwise.arrays import BoolArray, Float64Array, Int64Array
from partwise.scores.matching import match_authors, match_one_to_one, overlaps

Matching = Literal["authors", "one_to_one"]
MATCHINGS: tuple[Matching, ...] = ("authors", "one_to_one")


class APScores(TypedDict):
    """AP^r in percent; NaN where undefined. Plain lists, because torchmetrics squeezes tensors of one element."""

    ap: list[float]  # per threshold, mean over classes
    ap_per_class: list[list[float]]  # per class, per threshold


class ImageRows(NamedTuple):
    """What one image adds to the AP of a dataset: C classes, N detections of these classes, T thresholds."""

    objects: Int64Array  # (C,) true objects
    columns: Int64Array  # (N,) a detection's class, as position among the C
    scores: Float64Array  # (N,)
    hits: BoolArray  # (N, 2, T) true positives, by matching and threshold


def image_rows(
    counts: Int64Array,
    pred_classes: Int64Array,
    true_classes: Int64Array,
    scores: Float64Array,
    classes: Sequence[int],
    thresholds: Sequence[float],
) -> ImageRows:
    """Match the n predicted with the m true objects of one image.

    Args:
        counts: (n + 1, m + 1) pixels shared by predicted and true ids, 0 = nobody.
        pred_classes: (n,).
        true_classes: (m,).
        scores: (n,).
        classes: ids to evaluate.
        thresholds: IoUs in [0, 1) that a true positive must exceed.

    Returns:
        The true objects, and the detections of the evaluated classes with what they hit.
    """
    true_classes = np.where(counts.sum(0)[1:] > 0, true_classes, -1)  # without pixels: no object
    ious = overlaps(counts) * (pred_classes[:, None] == true_classes)
    limits = np.asarray(thresholds, dtype=np.float64)
    hits = np.stack([match_authors(ious, limits), match_one_to_one(ious, scores, limits)], axis=1)

    evaluated = pred_classes[:, None] == np.asarray(classes)  # (n, classes)
    kept = evaluated.any(1)
    objects = (true_classes[:, None] == np.asarray(classes)).sum(0)
    return ImageRows(objects, evaluated[kept].argmax(1), scores[kept], hits[kept])


def dataset_scores(images: Sequence[ImageRows]) -> dict[Matching, APScores]:
    """Compute the AP^r of a dataset.

    Args:
        images: at least one; equal scores rank in the order of the images, then in that of their rows.

    Returns:
        The metrics by matching.
    """
    order = np.argsort(-np.concatenate([rows.scores for rows in images]), kind="stable")
    objects = np.sum([rows.objects for rows in images], axis=0)
    columns = np.concatenate([rows.columns for rows in images])[order]
    return ap_scores(objects, columns, np.concatenate([rows.hits for rows in images])[order])


def ap_scores(objects: Int64Array, columns: Int64Array, hits: BoolArray) -> dict[Matching, APScores]:
    """Compute the AP^r of a dataset's ranked detections.

    Args:
        objects: (C,) true objects of each class.
        columns: (N,) classes of the detections by descending score, as positions among the C.
        hits: (N, 2, T) true positives, as `ImageRows` has them.

    Returns:
        The metrics by matching.
    """
    aps = 100 * np.stack(
        [average_precision(hits[columns == c], int(n)) for c, n in enumerate(objects)]
    )  # (classes, matchings, thresholds)
    idle = (objects == 0) & (np.bincount(columns, minlength=len(objects)) == 0)
    return {
        "authors": _class_means(aps[:, 0], np.where(idle[:, None], 0.0, aps[:, 0])),
        "one_to_one": _class_means(aps[:, 1], aps[objects > 0, 1]),
    }


def _class_means(per_class: Float64Array, averaged: Float64Array) -> APScores:
    """`averaged` (classes that count, T); no such class leaves the mean undefined."""
    mean = averaged.mean(0) if len(averaged) else np.full(per_class.shape[1], np.nan)
    return APScores(ap=mean.tolist(), ap_per_class=per_class.tolist())


def average_precision(hits: BoolArray, objects: int) -> Float64Array:
    """Compute the area under the precision-recall curve, at all points, under the monotone envelope (VOC 2010).

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
    area: Float64Array = (envelope * hits).sum(0) / objects  # recall grows by 1 / objects at every hit
    return area
