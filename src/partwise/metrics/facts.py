"""The metrics of TCNet's tables: PaperDoll's accuracies, precision, recall and F-1."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from partwise.batches import Annotation, Parsing
from partwise.labels import LabelSet
from partwise.metrics.parsing import IndexedConfusion
from partwise.scores.facts import facts_scores


class FACTSMetrics(nn.Module):
    """Compute all metrics of one split, in percent; an image counts once however many ranks see it.

    Args:
        label_set: the classes.
    """

    def __init__(self, label_set: LabelSet) -> None:
        super().__init__()
        self.label_set = label_set
        self.confusion = IndexedConfusion(label_set.num_classes)

    def update(
        self,
        index: Sequence[int],
        preds: Sequence[Parsing],
        target: Sequence[Annotation],
        sample_ids: Sequence[str] = (),
    ) -> None:
        """Add images.

        Args:
            index: position of each image in its split.
            preds: parsings at native size.
            target: annotations at native size.
            sample_ids: not needed.

        Raises:
            ValueError: a parsing has another size than its annotation, or a label is out of range; the image is named.
        """
        self.confusion.update(index, [p["parts"] for p in preds], [t["parts"] for t in target])

    def compute(self) -> dict[str, float]:
        """Compute the metrics so far; collective over ranks.

        Returns:
            `accuracy`, ..., and for each class its own: `f1_hair`; NaN where undefined.
        """
        values = facts_scores(self.confusion.compute().numpy())
        flat = {name: value for name, value in values.items() if isinstance(value, float)}
        per_class = zip(self.label_set.names, values["f1_per_class"], strict=True)
        return flat | {f"f1_{name}": value for name, value in per_class}

    def reset(self) -> None:
        """Forget all images."""
        self.confusion.reset()
