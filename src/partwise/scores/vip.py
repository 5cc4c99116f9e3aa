"""Compute the metrics of the VIP benchmark from what its images add to them, in NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from partwise.arrays import Int64Array
from partwise.scores.average_precision import APScores, ImageRows, Matching, dataset_scores
from partwise.scores.defined import defined

PART_THRESHOLDS = tuple(round(0.1 * i, 2) for i in range(1, 10))  # of the mean "ap_vol"
_COCO = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # of the mean "ap"
HUMAN_THRESHOLDS = tuple(sorted({*PART_THRESHOLDS, *_COCO}))
_SINGLE = {"ap_50": (0.5,), "ap_60": (0.6,), "ap_70": (0.7,)}
_PARTS = {"ap_vol": PART_THRESHOLDS, **_SINGLE}
_HUMAN = {"ap": _COCO, **_SINGLE, "ap_80": (0.8,), "ap_90": (0.9,), "ap_vol": PART_THRESHOLDS}

InstanceScores = dict[str, dict[str, dict[str, float]]]  # "human" | "part" -> matching -> metric


class ImageCounts(NamedTuple):
    """What one image adds to the metrics."""

    confusion: Int64Array  # (C, C) pixels, rows = ground truth
    human: ImageRows  # of class 1, at `HUMAN_THRESHOLDS`
    part: ImageRows  # of classes 1..C - 1, at `PART_THRESHOLDS`


def vip_report(images: Sequence[ImageCounts]) -> dict[str, object]:
    """Compute `VIPMetrics.report` of images counted elsewhere.

    Args:
        images: at least one; their order ranks equal scores.

    Returns:
        Metrics with the keys of the evaluation command; None where undefined.
    """
    confusion = np.sum([image.confusion for image in images], axis=0)
    hits, seen = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    ious = np.divide(100 * hits, seen, where=seen > 0, out=np.full(len(seen), np.nan))
    miou = ious[seen > 0].mean() if seen.any() else math.nan
    human = dataset_scores([image.human for image in images])
    part = dataset_scores([image.part for image in images])
    return nested(float(miou), ious.tolist(), instance_scores(human, part))


def nested(miou: float, iou_per_class: Sequence[float], instances: InstanceScores) -> dict[str, object]:
    """Nest metrics under the keys of the evaluation command.

    Args:
        miou: percent, NaN where undefined.
        iou_per_class: (C,) percent, NaN where undefined.
        instances: metrics of persons and parts by matching; empty without instances.

    Returns:
        The metrics; None where undefined.
    """
    kinds: dict[str, object] = {
        kind: {m: {name: defined(value) for name, value in metrics.items()} for m, metrics in matchings.items()}
        for kind, matchings in instances.items()
    }
    return {"miou": defined(miou), "iou_per_class": [defined(value) for value in iou_per_class], **kinds}


def instance_scores(human: Mapping[Matching, APScores], part: Mapping[Matching, APScores]) -> InstanceScores:
    """Name the mean over all thresholds, and the single ones that are published.

    Args:
        human: AP^r of persons at `HUMAN_THRESHOLDS`, by matching.
        part: AP^r of part instances at `PART_THRESHOLDS`, by matching.

    Returns:
        "human" or "part" -> matching -> metric -> percent.
    """
    return {"human": _named(human, HUMAN_THRESHOLDS, _HUMAN), "part": _named(part, PART_THRESHOLDS, _PARTS)}


def _named(
    matchings: Mapping[Matching, APScores], thresholds: Sequence[float], means: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Means over thresholds by name, of each matching."""
    named = {}
    for matching, metrics in matchings.items():
        by_threshold = dict(zip(thresholds, metrics["ap"], strict=True))
        named[str(matching)] = {
            name: sum(by_threshold[t] for t in chosen) / len(chosen) for name, chosen in means.items()
        }
    return named
