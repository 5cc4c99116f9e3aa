"""AP^r from what the images of a dataset add to it, in NumPy alone: evaluating files needs no torch, slow to import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypedDict

import numpy as np

from partwise.metrics.matching import (
    Bools,
    Floats,
    Ints,
    average_precision,
    match_authors,
    match_one_to_one,
    overlaps,
)

Matching = Literal["authors", "one_to_one"]
MATCHINGS: tuple[Matching, ...] = ("authors", "one_to_one")


class APFigures(TypedDict):
    """Percent; NaN where undefined. Plain lists, because torchmetrics squeezes tensors of one element."""

    ap: list[float]  # per threshold, mean over classes
    ap_per_class: list[list[float]]  # per class, per threshold


class ImageRows(NamedTuple):
    """What one image adds to the AP of a dataset: C classes, N detections of these classes, T thresholds."""

    objects: Ints  # (C,) true objects
    columns: Ints  # (N,) a detection's class, as position among the C
    scores: Floats  # (N,)
    hits: Bools  # (N, 2, T) true positives, by matching and threshold


def image_rows(
    counts: Ints,
    pred_classes: Ints,
    true_classes: Ints,
    scores: Floats,
    classes: Sequence[int],
    thresholds: Sequence[float],
) -> ImageRows:
    """Match the n predicted with the m true objects of one image.

    Args:
        counts: (n + 1, m + 1) pixels shared by predicted and true ids, 0 = nobody.
        pred_classes: (n,).
        true_classes: (m,).
        scores: (n,).
        classes: to evaluate.
        thresholds: IoUs in [0, 1).
    """
    true_classes = np.where(counts.sum(0)[1:] > 0, true_classes, -1)  # without pixels: no object
    ious = overlaps(counts) * (pred_classes[:, None] == true_classes)
    limits = np.asarray(thresholds, dtype=np.float64)
    hits = np.stack([match_authors(ious, limits), match_one_to_one(ious, scores, limits)], axis=1)

    evaluated = pred_classes[:, None] == np.asarray(classes)  # (n, classes)
    kept = evaluated.any(1)
    objects = (true_classes[:, None] == np.asarray(classes)).sum(0)
    return ImageRows(objects, evaluated[kept].argmax(1), scores[kept], hits[kept])


def dataset_figures(images: Sequence[ImageRows]) -> dict[Matching, APFigures]:
    """The figures of at least one image; equal scores rank in their order, then in that of their rows."""
    order = np.argsort(-np.concatenate([rows.scores for rows in images]), kind="stable")
    objects = np.sum([rows.objects for rows in images], axis=0)
    columns = np.concatenate([rows.columns for rows in images])[order]
    return ap_figures(objects, columns, np.concatenate([rows.hits for rows in images])[order])


def ap_figures(objects: Ints, columns: Ints, hits: Bools) -> dict[Matching, APFigures]:
    """The figures of a dataset's detections.

    Args:
        objects: (C,) true objects of each class.
        columns: (N,) classes of the detections by descending score, as positions among the C.
        hits: (N, 2, T) true positives, as `ImageRows` has them.
    """
    aps = 100 * np.stack(
        [average_precision(hits[columns == c], int(n)) for c, n in enumerate(objects)]
    )  # (classes, matchings, thresholds)
    idle = (objects == 0) & (np.bincount(columns, minlength=len(objects)) == 0)
    return {
        "authors": _figures(aps[:, 0], np.where(idle[:, None], 0.0, aps[:, 0])),
        "one_to_one": _figures(aps[:, 1], aps[objects > 0, 1]),
    }


def _figures(per_class: Floats, averaged: Floats) -> APFigures:
    """`averaged` (classes that count, T); no such class leaves the mean undefined."""
    mean = averaged.mean(0) if len(averaged) else np.full(per_class.shape[1], np.nan)
    return APFigures(ap=mean.tolist(), ap_per_class=per_class.tolist())
