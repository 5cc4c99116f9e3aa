"""COCO's mask AP of persons during training, as pycocotools has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from partwise.arrays import BoolArray, Float64Array
from partwise.batches import Annotation, InstanceMap, Parsing
from partwise.labels import IGNORE
from partwise.metrics.shards import ShardMetric, first_visits
from partwise.scores.coco import Block, coco_metrics
from partwise.scores.coco_rle import Row

_DETECTION, _OBJECT, _CROWD = range(3)


class COCOMetrics(ShardMetric):
    """AP, AP50, AP75, APM, APL and AR of the persons' masks in one split, fractions.

    Masks are those of the maps: disjoint, their areas pixels. COCO's own annotations overlap and have areas of their
    own, so that the evaluation of files gives slightly other metrics. True persons without pixels are none; predicted
    ones are false positives. What the annotation ignores is one crowd: detections mostly within it do not count.

    Keeps compressed masks, some hundred bytes each. An image counts once however many ranks see it; equal scores go
    by the index of the image, then by row.

    Args:
        kwargs: see `torchmetrics.Metric`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("images", (5,), torch.int64)  # index, height, width, detections, all regions
        self.add_shard("regions", (2,), torch.int64)  # what it is, bytes of its mask; detections come first
        self.add_shard("scores", (), torch.int64)  # a detection's bits of float64: not every device has the type itself
        self.add_shard("masks", (), torch.uint8)  # texts of compressed RLE

    def update(self, index: Sequence[int], preds: Sequence[Parsing], target: Sequence[Annotation]) -> None:
        """Add images.

        Args:
            index: position of each image in its split.
            preds: parsings at native size; `persons` with scores.
            target: annotations at native size with `persons`.
        """
        for i, pred, truth in zip(index, preds, target, strict=True):
            if "persons" not in pred or "persons" not in truth:
                raise ValueError(f"image {i}: parsing and annotation need 'persons' for COCO's metrics")
            try:
                self._add(i, pred["persons"], truth["persons"], truth["parts"])
            except ValueError as error:
                raise ValueError(f"image {i}: {error}") from error

    def compute(self) -> dict[str, float]:
        """The metrics so far, NaN where undefined; collective over ranks."""
        return coco_metrics(self._block())

    def _add(self, index: int, pred: InstanceMap, truth: InstanceMap, parts: Tensor) -> None:
        if not pred["map"].shape == truth["map"].shape == parts.shape:
            shapes = [tuple(t.shape) for t in (pred["map"], truth["map"], parts)]
            raise ValueError(f"predicted map, true map and parts are {', '.join(map(str, shapes))}")
        scores = _scores(pred)
        ignored = _encoded((parts == IGNORE).cpu().numpy())
        regions = [
            *((_DETECTION, mask) for mask in _masks(pred, "predicted")),
            *((_OBJECT, mask) for mask in _masks(truth, "true") if rle.area(mask)),
            *((_CROWD, mask) for mask in [ignored] if rle.area(mask)),
        ]
        texts = [mask["counts"] for _, mask in regions]
        height, width = parts.shape
        self.append("images", np.array([[index, height, width, len(scores), len(regions)]]))
        self.append("regions", np.array([(kind, len(mask["counts"])) for kind, mask in regions]).reshape(-1, 2))
        self.append("scores", scores.view(np.int64))
        self.append("masks", np.frombuffer(b"".join(texts), np.uint8).copy())

    def _block(self) -> Block:
        """All images for pycocotools, by ascending index."""
        images, regions, scores = self.gathered("images"), self.gathered("regions"), self.gathered("scores")
        text, text_ends = self.gathered("masks").tobytes(), regions[:, 1].cumsum()
        region_ends, score_ends = images[:, 4].cumsum(), images[:, 3].cumsum()
        block = Block()
        for number, k in enumerate(first_visits(images[:, 0])):
            _, height, width, found, count = images[k].tolist()
            own_scores = scores[score_ends[k] - found : score_ends[k]].view(np.float64).tolist()
            block.images.append(number)
            for n, region in enumerate(range(region_ends[k] - count, region_ends[k])):
                kind, length = regions[region].tolist()
                mask = {"size": [height, width], "counts": text[text_ends[region] - length : text_ends[region]]}
                side = block.detections if kind == _DETECTION else block.objects
                row: Row = {"id": len(side) + 1, "image_id": number, "category_id": 1, "segmentation": mask}
                about = {"score": own_scores[n]} if kind == _DETECTION else {"iscrowd": int(kind == _CROWD)}
                side.append(row | about | {"area": int(rle.area(mask))})
        return block


def _masks(objects: InstanceMap, name: str) -> list[Row]:
    """The compressed RLE of every object."""
    ids, count = np.asfortranarray(objects["map"].detach().cpu().numpy()), len(objects["classes"])
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if low < 0 or high > count:
        raise ValueError(f"the {name} map holds id {low if low < 0 else high} but has {count} rows")
    return [_encoded(ids == n) for n in range(1, count + 1)]


def _encoded(mask: BoolArray) -> Row:
    encoded: Row = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return encoded


def _scores(pred: InstanceMap) -> Float64Array:
    """(n,) scores of predicted persons."""
    if "scores" not in pred:
        raise ValueError("predicted persons have no scores")
    scores: Float64Array = pred["scores"].detach().cpu().double().numpy()
    if scores.shape != tuple(pred["classes"].shape):
        raise ValueError(f"{len(pred['classes'])} predicted persons have {scores.size} scores")
    if not np.isfinite(scores).all():
        raise ValueError("the scores of predicted persons hold NaN or infinity, which have no rank")
    return scores
