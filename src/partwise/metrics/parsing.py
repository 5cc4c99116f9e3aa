"""Pixel accuracy and intersection over union from one confusion matrix for the whole dataset.

Averaging per image gives other metrics; the benchmarks sum first. `confusion[t, p]` counts the pixels of true
class t that are called p. Metrics are percent, float64 on the CPU, NaN where undefined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from partwise.labels import IGNORE
from partwise.metrics.ranges import check_range
from partwise.metrics.shards import IndexedRows


class ParsingScores(TypedDict):
    """The metrics of a confusion matrix, in percent; NaN where undefined."""

    miou: Tensor  # () mean over the classes in ground truth or predictions, background included
    pixel_accuracy: Tensor  # ()
    fg_accuracy: Tensor  # () recall over all pixels whose true class is not background
    iou_per_class: Tensor  # (C,)


def confusion_matrix(preds: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        preds: (...) integer classes; any label of 0..255 will do where `target` is ignored.
        target: (...) integer classes, 255 = ignored.
        num_classes: C <= 255, background included.

    Returns:
        (C, C) int64 on the device of `preds`, rows = ground truth.

    Raises:
        ValueError: the shapes differ, or a label is out of range.
    """
    if preds.shape != target.shape:
        raise ValueError(f"preds {tuple(preds.shape)} and target {tuple(target.shape)} differ in shape")
    check_range(preds, "preds", 256)
    check_range(target, "target", 256)
    # One histogram over all 256 x 256 pairs: faster than masking out ignored pixels, and it finds bad labels.
    pairs = preds.flatten().long().add(target.flatten().to(preds.device).long(), alpha=256)
    counts = torch.bincount(pairs, minlength=256 * 256).view(256, 256)
    true, called = counts[:IGNORE].nonzero().unbind(1)
    check_range(true, "target", num_classes)
    check_range(called, "preds", num_classes)
    return counts[:num_classes, :num_classes].clone()


def iou(confusion: Tensor) -> Tensor:
    """Compute the IoU of every class.

    Args:
        confusion: (C, C) int64, rows = ground truth.

    Returns:
        (C,) percent; NaN for a class in neither ground truth nor predictions.
    """
    counts = _precise(confusion)
    hits = counts.diagonal()
    return 100 * hits / (counts.sum(0) + counts.sum(1) - hits)


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """Compute the percentage () of pixels called right; `confusion` is (C, C), rows = ground truth."""
    counts = _precise(confusion)
    return 100 * counts.trace() / counts.sum()


def fg_accuracy(confusion: Tensor) -> Tensor:
    """Compute the percentage () called right of the pixels that are not background (Fg.acc of PaperDoll).

    100 * sum_{c >= 1} N_cc / sum_{c >= 1} sum_j N_cj; `confusion` is (C, C), rows = ground truth.
    """
    counts = _precise(confusion)
    return 100 * counts.diagonal()[1:].sum() / counts[1:].sum()


def parsing_scores(confusion: Tensor) -> ParsingScores:
    """Compute all metrics of a confusion matrix (C, C), rows = ground truth."""
    per_class = iou(confusion)
    return ParsingScores(
        miou=per_class.nanmean(),
        pixel_accuracy=pixel_accuracy(confusion),
        fg_accuracy=fg_accuracy(confusion),
        iou_per_class=per_class,
    )


class IndexedConfusion(IndexedRows):
    """Sum the confusion matrices of all images seen, each counted once however many ranks or updates saw it.

    Keeps one confusion matrix an image: 3 KB at 20 classes.

    Args:
        num_classes: classes, background included.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__((_checked(num_classes), num_classes), torch.int64, **kwargs)
        self.num_classes = num_classes

    def update(self, index: Sequence[int], preds: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """Add images.

        Args:
            index: position of each image in its split.
            preds: one (H, W) int64 map an image.
            target: one (H, W) int64 map an image, 255 = ignored.

        Raises:
            ValueError: two maps differ in size, or a label is out of range; the image is named.
        """
        for i, pred, truth in zip(index, preds, target, strict=True):
            try:
                confusion = confusion_matrix(pred, truth, self.num_classes)
            except ValueError as error:
                raise ValueError(f"image {i}: {error}") from error
            self.add([i], confusion[None])

    def compute(self) -> Tensor:
        """Sum the matrices so far, (C, C) int64, rows = ground truth; collective over ranks."""
        return torch.from_numpy(self.distinct().sum(0))


def _precise(confusion: Tensor) -> Tensor:
    """Float64 counts on the CPU: float32 loses pixels beyond 2^24, and not every device has float64."""
    return confusion.cpu().double()


def _checked(num_classes: int) -> int:
    if not 2 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes is {num_classes}; it must lie in 2..{IGNORE}, background included")
    return num_classes
