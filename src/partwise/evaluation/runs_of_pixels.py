"""Count the objects of label maps along runs of pixels.

The maps of an image are reduced to runs along which none of them changes. A 720p frame has some ten thousand, so
that nothing but reading the files takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from partwise.arrays import Float64Array, Int64Array, IntArray
from partwise.errors import InputError
from partwise.io.object_rows import (
    check_covered,
    read_scored_classes,
)
from partwise.labels import IGNORE, LabelSet
from partwise.scores.average_precision import ImageRows, image_rows
from partwise.scores.vip import HUMAN_THRESHOLDS, PART_THRESHOLDS, ImageCounts


class Objects(NamedTuple):
    """True objects of an image of R runs; each has pixels."""

    ids: Int64Array  # (R,) 0..m, 0 = nobody
    classes: Int64Array  # (m,)


class Detections(NamedTuple):
    """Predicted objects of an image of R runs; those without pixels are false."""

    ids: IntArray  # (R,) 0..n, 0 = nobody
    classes: Int64Array  # (n,)
    scores: Float64Array  # (n,)


def joint_runs(maps: Sequence[IntArray]) -> tuple[list[IntArray], Int64Array]:
    """Find the runs of pixels, in reading order, along which no map changes.

    Args:
        maps: (H, W) each.

    Returns:
        (R,) values of each map; (R,) pixels of each run.
    """
    flat = [ids.ravel() for ids in maps]
    changes = flat[0][1:] != flat[0][:-1]
    for ids in flat[1:]:
        changes |= ids[1:] != ids[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return [ids[starts] for ids in flat], np.diff(starts, append=flat[0].size)


def numbered(ids: IntArray) -> tuple[Int64Array, Int64Array]:
    """Renumber ids 1..m in ascending order; 0 stays 0.

    Args:
        ids: (R,), 0 or more.

    Returns:
        (R,) new ids; (m,) the old id of each.
    """
    present = np.bincount(ids) > 0
    present[0] = False
    return np.cumsum(present, dtype=np.int64)[ids], np.flatnonzero(present)


def true_persons(ids: IntArray) -> Objects:
    """Make every id of the runs (R,) a person, class 1; 0 = nobody."""
    ids, found = numbered(ids)
    return Objects(ids, np.ones_like(found))


def persons(ids: IntArray, file: Path, scores: Float64Array, text: Path) -> Detections:
    """Make predicted persons of the runs of a map and its rows.

    Args:
        ids: (R,) 0..n, 0 = nobody.
        file: the map, named in messages.
        scores: (n,), one a row.
        text: file of the rows, named in messages.

    Returns:
        The persons, class 1.

    Raises:
        InputError: an id has no row.
    """
    check_covered(ids, len(scores), file, text)
    return Detections(ids, np.ones(len(scores), dtype=np.int64), scores)


def part_instances(ids: IntArray, file: Path, label_set: LabelSet) -> Detections:
    """Make predicted part instances of the runs of a map and the rows beside it.

    Args:
        ids: (R,) 0..n, 0 = nobody.
        file: the map; its rows "class score" are in the txt of the same name.
        label_set: of the classes.

    Returns:
        The part instances.

    Raises:
        InputError: an id has no row, or the rows are missing or damaged.
    """
    text = file.with_suffix(".txt")
    classes, scores = read_scored_classes(text, label_set.num_classes)
    check_covered(ids, len(scores), file, text)
    return Detections(ids, classes, scores)


def confusion(parts: tuple[IntArray, IntArray], runs: Int64Array, label_set: LabelSet, file: Path) -> Int64Array:
    """Count pixels by true and predicted class.

    Args:
        parts: (R,) true and (R,) predicted labels of the runs, all of the label set or 255.
        runs: (R,) pixels.
        label_set: of C classes.
        file: of the prediction, named in messages.

    Returns:
        (C, C), rows = ground truth.

    Raises:
        InputError: the prediction is 255 where the ground truth is not.
    """
    counts = _shared(*parts, runs, (IGNORE + 1, IGNORE + 1))
    classes = slice(label_set.num_classes)
    if counts[classes, IGNORE].any():
        raise InputError(
            f"label {IGNORE} in {file} is no class; only pixels that the ground truth ignores may hold {IGNORE}"
        )
    return counts[classes, classes]


def count(
    parts: Int64Array, human: tuple[Objects, Detections], part: tuple[Objects, Detections], runs: Int64Array
) -> ImageCounts:
    """Count what an image adds to the metrics.

    Args:
        parts: (C, C) confusion.
        human: true and predicted persons.
        part: true and predicted part instances.
        runs: (R,) pixels.

    Returns:
        The confusion, and the objects matched at VIP's thresholds.
    """
    return ImageCounts(
        parts, _rows(*human, runs, (1,), HUMAN_THRESHOLDS), _rows(*part, runs, range(1, len(parts)), PART_THRESHOLDS)
    )


def _rows(
    truth: Objects, pred: Detections, runs: Int64Array, classes: Sequence[int], thresholds: Sequence[float]
) -> ImageRows:
    counts = _shared(pred.ids, truth.ids, runs, (len(pred.classes) + 1, len(truth.classes) + 1))
    return image_rows(counts, pred.classes, truth.classes, pred.scores, classes, thresholds)


def _shared(rows: IntArray, columns: IntArray, runs: Int64Array, shape: tuple[int, int]) -> Int64Array:
    """Pixels of every pair of ids; float64 weights count exactly."""
    pairs = rows.astype(np.int64) * shape[1] + columns
    return np.bincount(pairs, weights=runs, minlength=shape[0] * shape[1]).astype(np.int64).reshape(shape)
