"""Compute region similarity J and boundary accuracy F of masks in video, with the metrics DAVIS draws from them.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016. All
metrics are fractions. Masks are (H, W) uint8, 0 = background, 1 = foreground. No torch: a command that only scores
files starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from partwise.arrays import BoolArray, Float64Array, UInt8Array

#: Share of the diagonal by which a boundary may be off (section 4.1).
TOLERANCE = 0.008

#: A frame counts as recalled above this.
RECALLED = 0.5

#: Parts of a sequence; decay compares the last to the first.
_BINS = 4


def frame_scores(pred: UInt8Array, truth: UInt8Array, void: BoolArray | None = None) -> tuple[float, float]:
    """Compute J and F of one frame.

    Args:
        pred: (H, W) mask.
        truth: (H, W) mask.
        void: (H, W), pixels that count for neither; both masks are taken as background there.

    Returns:
        J, F.

    Raises:
        ValueError: the shapes differ.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"pred {pred.shape} and truth {truth.shape} differ in shape")
    if void is not None:
        pred, truth = pred & ~void, truth & ~void
    radius = tolerance(truth.shape)
    window = _window(pred | truth)
    pred, truth = np.ascontiguousarray(pred[window]), np.ascontiguousarray(truth[window])
    return region_similarity(pred, truth), boundary_accuracy(pred, truth, radius)


def region_similarity(pred: UInt8Array, truth: UInt8Array) -> float:
    """Compute J, intersection over union.

    Args:
        pred: (H, W) mask.
        truth: (H, W) mask.

    Returns:
        J; 1 where both masks are empty.
    """
    union = np.count_nonzero(pred | truth)
    return np.count_nonzero(pred & truth) / union if union else 1.0


def boundary_accuracy(pred: UInt8Array, truth: UInt8Array, radius: int | None = None) -> float:
    """Compute F, the harmonic mean of the shares of either boundary that lie close to the other.

    An empty boundary is all right (precision, or recall, 1) but nothing of the other is close to it; two empty
    boundaries agree.

    Args:
        pred: (H, W) mask.
        truth: (H, W) mask.
        radius: pixels that count as close; None takes `tolerance` of the masks' size.

    Returns:
        F.
    """
    radius = tolerance(truth.shape) if radius is None else radius
    called, true = boundary(pred), boundary(truth)
    num_called, num_true = np.count_nonzero(called), np.count_nonzero(true)
    if not num_called or not num_true:
        return float(num_called == num_true)  # one share is 1, the other 0: so is their harmonic mean
    precision = np.count_nonzero(called & dilated(true, radius)) / num_called
    recall = np.count_nonzero(true & dilated(called, radius)) / num_true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: UInt8Array) -> UInt8Array:
    """Find the 1-pixel boundary of Berkeley's seg2bmap.

    A pixel belongs to it if its eastern, southern or south-eastern neighbour differs; neighbours outside the picture
    do not.

    Args:
        mask: (H, W).

    Returns:
        (H, W) 0/1.
    """
    edge = np.zeros_like(mask)
    down, right = mask[1:] ^ mask[:-1], mask[:, 1:] ^ mask[:, :-1]
    edge[:-1] = down
    edge[:, :-1] |= right
    edge[:-1, :-1] |= right[1:]  # south differs from here, or south-east from south: then one of the three differs
    return edge


def dilated(mask: UInt8Array, radius: int) -> UInt8Array:
    """Find the pixels within `radius` pixels of a mask's, x² + y² <= radius².

    A disk is a stack of rows, few of them of different length, and OpenCV is fast at rows.

    Args:
        mask: (H, W).
        radius: of the disk, 0 or more.

    Returns:
        (H, W) 0/1.
    """
    out = np.zeros_like(mask)
    rows, drawn = out, -1
    for dy in range(min(radius, mask.shape[0] - 1) + 1):
        half = math.isqrt(radius * radius - dy * dy)
        if half != drawn:
            rows, drawn = cv2.dilate(mask, np.ones((1, 2 * half + 1), np.uint8)).astype(np.uint8, copy=False), half
        out[dy:] |= rows[: len(rows) - dy]
        out[: len(out) - dy] |= rows[dy:]
    return out


def tolerance(size: Sequence[int]) -> int:
    """Return the radius in pixels by which a boundary may be off, in a picture of `size` (H, W)."""
    return math.ceil(TOLERANCE * math.sqrt(size[0] ** 2 + size[1] ** 2))


def mean(values: Float64Array) -> float:
    """Average over a sequence's frames (n,); NaN of none."""
    return float(np.mean(values)) if len(values) else math.nan


def recall(values: Float64Array) -> float:
    """Return the share of a sequence's frames (n,) above one half."""
    return float(np.mean(values > RECALLED))


def decay(values: Float64Array) -> float:
    """Measure how much of a sequence's quality (n,) is lost: the mean of its first quarter less the mean of its last.

    Neighbouring quarters share the frame between them. Of a single frame all quarters are that frame.
    """
    # Halves go up: the official scripts are MATLAB's, whose rounding numpy's is not.
    ends = np.round(np.linspace(1, len(values), _BINS + 1) + 1e-10).astype(int) - 1
    return float(np.mean(values[: ends[1] + 1]) - np.mean(values[ends[-2] :]))


def sequence_scores(scores: Float64Array) -> dict[str, float]:
    """Compute the metrics of one sequence.

    Args:
        scores: (n, 2) J and F of its scored frames in order; n = 0 leaves all metrics undefined, NaN.

    Returns:
        `J_mean`, `J_recall`, `J_decay`, `F_mean`, `F_recall` and `F_decay`, fractions.
    """
    return {
        f"{letter}_{name}": metric(values) if len(values) else math.nan
        for letter, values in zip("JF", scores.T, strict=True)
        for name, metric in (("mean", mean), ("recall", recall), ("decay", decay))
    }


def mean_scores(sequences: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average every metric over the sequences in which it is defined; NaN where there is none."""
    sequences = list(sequences) or [sequence_scores(np.empty((0, 2)))]
    values = {name: np.array([metrics[name] for metrics in sequences]) for name in sequences[0]}
    return {name: mean(column[~np.isnan(column)]) for name, column in values.items()}


def in_order(frames: Iterable[str]) -> list[str]:
    """Sort the distinct names of frames by number, padded with zeros or not."""
    return sorted(set(frames), key=lambda name: (len(name), name))


def scored(frames: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Leave out of each sequence's frames the first, which methods may be given, and the last."""
    return {sequence: names[1:-1] for sequence, names in frames.items()}


def _window(mask: UInt8Array) -> tuple[slice, slice]:
    """The part of a picture outside of which there is no boundary and no foreground, background around it included.

    Boundaries reach one pixel up and left of the foreground; one more row and column of background below and to the
    right keep the window's end from being taken for the picture's.
    """
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    return slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2)
