"""The figures of TCNet's tables: PaperDoll's accuracies, precision, recall and F-1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor, nn

from partwise.batches import Annotation, Parsing
from partwise.labels import LabelSet
from partwise.metrics.parsing import IndexedConfusion, fg_accuracy, pixel_accuracy


class FACTSFigures(TypedDict):
    """Percent; NaN where undefined."""

    accuracy: float
    fg_accuracy: float  # over pixels whose true class is not background
    avg_precision: float  # averages over classes, background included, undefined ones skipped
    avg_recall: float
    avg_f1: float
    f1_per_class: list[float]


def facts_figures(confusion: Tensor) -> FACTSFigures:
    """PaperDoll's figures of the confusion matrix of a whole dataset (Yamaguchi et al., ICCV 2013).

    P_c = N_cc / column sum, R_c = N_cc / row sum, F1_c = 2 N_cc / (row sum + column sum). A class seen in ground truth
    or predictions only has F1 0, one seen in neither is skipped.

    Args:
        confusion: (C, C) pixel counts, rows = ground truth.
    """
    counts = confusion.cpu().double()
    hits, true, called = counts.diagonal(), counts.sum(1), counts.sum(0)
    f1 = 200 * hits / (true + called)
    return FACTSFigures(
        accuracy=float(pixel_accuracy(counts)),
        fg_accuracy=float(fg_accuracy(counts)),
        avg_precision=float((100 * hits / called).nanmean()),
        avg_recall=float((100 * hits / true).nanmean()),
        avg_f1=float(f1.nanmean()),
        f1_per_class=f1.tolist(),
    )


class FACTSMetrics(nn.Module):
    """All figures of one split, in percent; an image counts once however many ranks see it.

    Args:
        label_set: the classes.
    """

    def __init__(self, label_set: LabelSet) -> None:
        super().__init__()
        self.label_set = label_set
        self.confusion = IndexedConfusion(label_set.num_classes)

    def update(self, index: Sequence[int], preds: Sequence[Parsing], target: Sequence[Annotation]) -> None:
        """Add images: position of each in its split, parsings and annotations at native size."""
        self.confusion.update(index, [p["parts"] for p in preds], [t["parts"] for t in target])

    def compute(self) -> dict[str, float]:
        """Flat figures, keys without a split; each class has its own: `f1_hair`. Collective over ranks."""
        figures = facts_figures(self.confusion.compute())
        flat = {name: value for name, value in figures.items() if isinstance(value, float)}
        per_class = zip(self.label_set.names, figures["f1_per_class"], strict=True)
        return flat | {f"f1_{name}": value for name, value in per_class}

    def reset(self) -> None:
        """Forget all images."""
        self.confusion.reset()
