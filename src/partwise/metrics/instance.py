"""AP^r: average precision of disjoint regions, by both matchings in use (`partwise.scores.matching`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partwise.arrays import Float64Array, Int64Array, IntpArray
from partwise.batches import InstanceMap, Instances
from partwise.errors import InputError
from partwise.metrics.ranges import check_range
from partwise.metrics.shards import ShardMetric, first_visits
from partwise.scores.average_precision import MATCHINGS, APScores, Matching, ap_scores, image_rows


class InstanceAP(ShardMetric):
    """Compute AP^r over a dataset, at several thresholds, by both matchings at once.

    A detection's fate depends on its own image alone, so `update` settles it and keeps one row a detection.
    `compute` ranks all rows by score, ties in order of image and row, whatever rank they come from. An image
    seen twice counts once.

    Objects without pixels: true ones are no objects, predicted ones are false positives. Objects of classes
    that are not in `classes` are left out.

    - `authors`: true if the best object of the class in the image has IoU > t; duplicates all count, so that
      AP may pass 100. A class without objects counts 0 if it has no detections and makes the mean undefined
      if it has. That holds for a single class (persons) too.
    - `one_to_one`: each object is found once. Mean over the classes that have objects.

    Args:
        classes: ids to evaluate.
        thresholds: IoUs in [0, 1) that a true positive must exceed.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, classes: Sequence[int], thresholds: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not classes or len(set(classes)) != len(classes):
            raise ValueError(f"classes {list(classes)} must be distinct and at least one")
        if not thresholds or not all(0 <= t < 1 for t in thresholds):
            raise ValueError(f"thresholds {list(thresholds)} must lie in [0, 1) and be at least one")
        self.classes, self.thresholds = tuple(classes), tuple(thresholds)
        self.add_shard("images", (2,), torch.int64)  # index, number of detections
        self.add_shard("objects", (len(classes),), torch.int64)  # true objects an image, by class
        self.add_shard("columns", (), torch.int64)  # a detection's class, as position in `classes`
        self.add_shard("scores", (), torch.int64)  # bits of float64: not every device has the type itself
        self.add_shard("hits", (len(MATCHINGS), len(thresholds)), torch.bool)

    def update(self, index: Sequence[int], preds: Sequence[Instances], target: Sequence[Instances]) -> None:
        """Add images.

        Args:
            index: position of each image in its split.
            preds: disjoint objects with scores; `map` (H, W).
            target: disjoint objects; `map` of the same size.

        Raises:
            InputError: objects of an image may overlap.
            ValueError: an image's maps differ in size, an id has no row, or scores are missing or not finite.
        """
        for i, pred, truth in zip(index, preds, target, strict=True):
            try:
                self._add(i, _disjoint(pred, i), _disjoint(truth, i))
            except ValueError as error:
                raise ValueError(f"image {i}: {error}") from error

    def compute(self) -> dict[Matching, APScores]:
        """Compute the metrics so far, by matching; collective over ranks."""
        images, hits = self.gathered("images"), self.gathered("hits")
        first = first_visits(images[:, 0])
        order = rank_detections(images, first, self.gathered("scores").view(np.float64))
        objects = self.gathered("objects")[first].sum(0)
        return ap_scores(objects, self.gathered("columns")[order], hits[order])

    def _add(self, index: int, pred: InstanceMap, truth: InstanceMap) -> None:
        pred_classes, true_classes, scores = _rows(pred), _rows(truth), predicted_scores(pred)
        counts = joint_histogram(pred["map"], truth["map"], len(pred_classes), len(true_classes))
        rows = image_rows(counts, pred_classes, true_classes, scores, self.classes, self.thresholds)
        self.append("images", np.array([[index, len(rows.columns)]]))
        self.append("objects", rows.objects[None])
        self.append("columns", rows.columns)
        self.append("scores", rows.scores.view(np.int64))
        self.append("hits", rows.hits)


def rank_detections(images: Int64Array, first: IntpArray, scores: Float64Array) -> IntpArray:
    """Rank detections by descending score, ties by image index, then by row; leave out those of repeated images.

    Args:
        images: (K, 2) index and number of detections of every image seen.
        first: (I,) the rows of `images` to use, by ascending index.
        scores: (N,) of all detections, in the order of `images`.

    Returns:
        (N',) positions in `scores`.
    """
    place = np.full(len(images), -1)
    place[first] = np.arange(len(first))
    place_of = np.repeat(place, images[:, 1])  # (N,)
    order = np.lexsort((place_of, -scores))  # stable: rows of an image stay in order
    return order[place_of[order] >= 0]


def _rows(objects: InstanceMap) -> Int64Array:
    """(n,) classes."""
    classes: Int64Array = objects["classes"].detach().cpu().numpy().astype(np.int64)
    return classes


def _disjoint(objects: Instances, index: int) -> InstanceMap:
    if "map" not in objects:
        raise InputError(
            f"image {index}: AP^r is defined for disjoint persons but these may overlap, they are masks; score them "
            "with partwise.metrics.coco.COCOMetrics"
        )
    return objects


def predicted_scores(pred: Instances) -> Float64Array:
    """Return the scores (n,) of predicted objects; float64 keeps the order of any input type.

    Raises:
        ValueError: there are none, or not as many as objects, or one is not finite.
    """
    if "scores" not in pred:
        raise ValueError("predicted objects have no scores")
    scores: Float64Array = pred["scores"].detach().cpu().double().numpy()
    if scores.shape != tuple(pred["classes"].shape):
        raise ValueError(f"{len(pred['classes'])} predicted objects have {scores.size} scores")
    if not np.isfinite(scores).all():
        raise ValueError("the scores of predicted objects hold NaN or infinity, which have no rank")
    return scores


def joint_histogram(preds: Tensor, target: Tensor, n: int, m: int) -> Int64Array:
    """Count the pixels shared by every predicted and every true object, in one pass over the maps.

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
        check_range(ids, f"the {name} map", count + 1)
    pairs = preds.flatten().long().mul(m + 1).add_(target.flatten().to(preds.device))
    counts: Int64Array = pairs.bincount(minlength=(n + 1) * (m + 1)).view(n + 1, m + 1).cpu().numpy()
    return counts
