"""The metrics of the VIP benchmark (Zhou et al., ACM MM 2018): mIoU, AP^r of persons, AP^r of parts.

They suit any label set whose annotations have disjoint persons and part instances.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from partwise.batches import Annotation, Instances, Parsing
from partwise.labels import LabelSet
from partwise.metrics.instance import InstanceAP
from partwise.metrics.parsing import IndexedConfusion, parsing_scores
from partwise.scores.vip import HUMAN_THRESHOLDS, PART_THRESHOLDS, InstanceScores, instance_scores, nested


class VIPMetrics(nn.Module):
    """Compute all metrics of one split, in percent.

    `compute` and `report` are collective: call them on every rank or on none. An image counts once however
    many ranks see it.

    Args:
        label_set: the classes; parts are all but background.
        instances: whether predictions have persons and part instances. Without, those metrics are absent.
    """

    def __init__(self, label_set: LabelSet, instances: bool = True) -> None:
        super().__init__()
        self.label_set = label_set
        self.confusion = IndexedConfusion(label_set.num_classes)
        self.human = InstanceAP([1], HUMAN_THRESHOLDS) if instances else None
        self.part = InstanceAP(range(1, label_set.num_classes), PART_THRESHOLDS) if instances else None

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
            preds: parsings at native size; their persons are disjoint.
            target: annotations at native size; their persons are disjoint.
            sample_ids: not needed.

        Raises:
            InputError: persons may overlap.
            ValueError: a field is missing, sizes differ or a label is out of range; the image is named.
        """
        self.confusion.update(index, [p["parts"] for p in preds], [t["parts"] for t in target])
        if self.human is not None and self.part is not None:
            pairs = list(zip(index, preds, target, strict=True))
            self.human.update(
                index,
                [_objects(p.get("persons"), "persons", "parsing", i) for i, p, _ in pairs],
                [_objects(t.get("persons"), "persons", "annotation", i) for i, _, t in pairs],
            )
            self.part.update(
                index,
                [_objects(p.get("part_instances"), "part_instances", "parsing", i) for i, p, _ in pairs],
                [_objects(t.get("part_instances"), "part_instances", "annotation", i) for i, _, t in pairs],
            )

    def compute(self) -> dict[str, float]:
        """Compute the metrics so far.

        Returns:
            Metrics by name, NaN where undefined. A key without the name of a matching is `one_to_one`'s: `human_ap_50`,
            `human_authors_ap_50`. Each class has its own: `iou_hair`.
        """
        parsing = parsing_scores(self.confusion.compute())
        flat = {
            "miou": float(parsing["miou"]),
            "pixel_accuracy": float(parsing["pixel_accuracy"]),
            "fg_accuracy": float(parsing["fg_accuracy"]),
        }
        for kind, matchings in self._instance_scores().items():
            for matching, values in matchings.items():
                prefix = kind if matching == "one_to_one" else f"{kind}_{matching}"
                flat |= {f"{prefix}_{name}": value for name, value in values.items()}
        per_class = zip(self.label_set.names, parsing["iou_per_class"].tolist(), strict=True)
        return flat | {f"iou_{name}": value for name, value in per_class}

    def report(self) -> dict[str, object]:
        """Compute the metrics so far, nested under the keys of the evaluation command; None where undefined."""
        parsing = parsing_scores(self.confusion.compute())
        return nested(float(parsing["miou"]), parsing["iou_per_class"].tolist(), self._instance_scores())

    def reset(self) -> None:
        """Forget all images."""
        self.confusion.reset()
        if self.human is not None and self.part is not None:
            self.human.reset()
            self.part.reset()

    def _instance_scores(self) -> InstanceScores:
        if self.human is None or self.part is None:
            return {}
        return instance_scores(self.human.compute(), self.part.compute())


def _objects(objects: Instances | None, field: str, owner: str, index: int) -> Instances:
    if objects is None:
        raise ValueError(f"image {index}: the {owner} has no {field!r}, which instance metrics need")
    return objects
