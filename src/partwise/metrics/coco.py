"""COCO's AP of persons during training, by masks and by keypoints, as pycocotools has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from partwise.arrays import UInt8Array
from partwise.batches import Annotation, Instances, Parsing, masks_of
from partwise.labels import IGNORE, LabelSet
from partwise.metrics.instance import predicted_scores
from partwise.metrics.shards import ShardMetric, first_visits
from partwise.scores.coco import KEYPOINTS, Block, Row, area_around, coco_metrics

_DETECTION, _OBJECT, _CROWD = range(3)

#: OCHuman's ranges of a person's largest box IoU with another; all of the last one's are below its end.
OCCLUSION = {"AP_M": (0.5, 0.75), "AP_H": (0.75, 1.01)}


class COCOMetrics(ShardMetric):
    """Compute AP, AP50, AP75, APM, APL and AR of the persons of one split, fractions, by masks and by keypoints.

    Persons may overlap (`InstanceMasks`) or not (`InstanceMap`). The area of a true person is the pixels of the mask;
    COCO's files state areas of their own, so that the evaluation of files gives slightly other metrics. True persons
    without pixels are none; predicted ones are false positives. What the annotation ignores is one crowd: detections
    mostly within it do not count. By keypoints each connected region of it is a crowd, and detections in or near its
    box do not count.

    Keypoints are COCO's 17. An image is scored by them where both its parsing and its annotation have them.

    Keeps compressed masks, some hundred bytes each. An image counts once however many ranks see it; equal scores go
    by the index of the image, then by row.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("images", (6,), torch.int64)  # index, height, width, detections, all regions, has keypoints
        self.add_shard("regions", (2,), torch.int64)  # what it is, bytes of its mask; detections come first
        self.add_shard("scores", (), torch.int64)  # a detection's bits of float64: not every device has the type itself
        self.add_shard("masks", (), torch.uint8)  # texts of compressed RLE
        self.add_shard("keypoints", (3 * KEYPOINTS,), torch.float32)  # of detections, then objects, of images with any

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
            preds: parsings at native size; `persons` with scores.
            target: annotations at native size with `persons`.
            sample_ids: not needed.

        Raises:
            ValueError: persons are missing or do not fit, or scores or keypoints are not finite; the image is named.
        """
        for i, pred, truth in zip(index, preds, target, strict=True):
            if "persons" not in pred or "persons" not in truth:
                raise ValueError(f"image {i}: parsing and annotation need 'persons' for COCO's metrics")
            try:
                self._add(i, pred["persons"], truth["persons"], truth["parts"])
            except ValueError as error:
                raise ValueError(f"image {i}: {error}") from error

    def compute(self) -> dict[str, float]:
        """Compute the metrics so far, NaN where undefined; collective over ranks.

        Returns:
            `AP`, ... by masks; `keypoints_AP`, ... by keypoints if an image was scored by them.
        """
        block = self._block()
        metrics = coco_metrics(block)
        posed = _by_keypoints(block)
        if posed.images:
            metrics |= {f"keypoints_{name}": value for name, value in coco_metrics(posed, "keypoints").items()}
        return metrics

    def _add(self, index: int, pred: Instances, truth: Instances, parts: Tensor) -> None:
        found, true = masks_of(pred), masks_of(truth)
        if not found.shape[1:] == true.shape[1:] == parts.shape:
            shapes = [tuple(shape) for shape in (found.shape[1:], true.shape[1:], parts.shape)]
            raise ValueError(f"predicted persons, true persons and parts are {', '.join(map(str, shapes))}")
        scores = predicted_scores(pred)
        seen = true.flatten(1).any(1)
        regions = [
            *((_DETECTION, text) for text in _texts(found)),
            *((_OBJECT, text) for text in _texts(true[seen])),
            *((_CROWD, text) for text in _texts((parts == IGNORE)[None]) if (parts == IGNORE).any()),
        ]
        posed = False
        if "keypoints" in pred and "keypoints" in truth:
            posed = True
            self.append("keypoints", _keypoints(pred["keypoints"], len(found)))
            self.append("keypoints", _keypoints(truth["keypoints"], len(true))[seen.cpu()])
        height, width = parts.shape
        self.append("images", np.array([[index, height, width, len(scores), len(regions), posed]]))
        self.append("regions", np.array([(kind, len(text)) for kind, text in regions]).reshape(-1, 2))
        self.append("scores", scores.view(np.int64))
        self.append("masks", np.frombuffer(b"".join(text for _, text in regions), np.uint8).copy())

    def _block(self) -> Block:
        """Gather all images for pycocotools, by ascending index; rows have keypoints where their image has."""
        images, regions, scores = self.gathered("images"), self.gathered("regions"), self.gathered("scores")
        keypoints = self.gathered("keypoints").astype(np.float64)
        text, text_ends = self.gathered("masks").tobytes(), regions[:, 1].cumsum()
        region_ends, score_ends = images[:, 4].cumsum(), images[:, 3].cumsum()
        posed = np.repeat(images[:, 5], images[:, 4]) * (regions[:, 0] != _CROWD)
        pose_ends = posed.cumsum()
        block = Block()
        for number, k in enumerate(first_visits(images[:, 0])):
            _, height, width, found, count, _ = images[k].tolist()
            own_scores = scores[score_ends[k] - found : score_ends[k]].view(np.float64).tolist()
            block.images.append(number)
            for n, region in enumerate(range(region_ends[k] - count, region_ends[k])):
                kind, length = regions[region].tolist()
                mask = {"size": [height, width], "counts": text[text_ends[region] - length : text_ends[region]]}
                side = block.detections if kind == _DETECTION else block.objects
                row: Row = {"id": len(side) + 1, "image_id": number, "category_id": 1, "segmentation": mask}
                row |= {"score": own_scores[n]} if kind == _DETECTION else {"iscrowd": int(kind == _CROWD)}
                row |= {"keypoints": keypoints[pose_ends[region] - 1]} if posed[region] else {}
                side.append(row | {"area": int(rle.area(mask))})
        return block


class OCHumanMetrics(COCOMetrics):
    """Add OCHuman's AP of moderately and of heavily occluded persons, `AP_M` and `AP_H`, to `COCOMetrics`.

    A person is in them by the largest IoU of its mask's box with another's: 0.5 to 0.75, and above. As in the dataset's
    files, all other persons are left out of the truth, and pictures without any of the range altogether.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: of `torchmetrics.Metric`.
    """

    def compute(self) -> dict[str, float]:
        """Compute the metrics so far, NaN where undefined; collective over ranks."""
        metrics, block = super().compute(), self._block()
        overlaps = _overlaps(block)
        for name, (low, high) in OCCLUSION.items():
            metrics[name] = coco_metrics(_of_range(block, overlaps, low, high))["AP"]
        return metrics


def _overlaps(block: Block) -> list[float]:
    """The largest box IoU of every object with another one of its picture, 0 for crowds."""
    boxes: dict[int, list[int]] = defaultdict(list)
    for n, row in enumerate(block.objects):
        if not row["iscrowd"]:
            boxes[row["image_id"]].append(n)
    overlaps = [0.0] * len(block.objects)
    for rows in boxes.values():
        sides = torch.tensor(np.stack([rle.toBbox(block.objects[n]["segmentation"]) for n in rows]))
        iou = box_iou(*[box_convert(sides, "xywh", "xyxy")] * 2).fill_diagonal_(0)
        for n, largest in zip(rows, iou.amax(1).tolist(), strict=True):
            overlaps[n] = largest
    return overlaps


def _of_range(block: Block, overlaps: Sequence[float], low: float, high: float) -> Block:
    """The objects whose overlap is from `low` to below `high`, and the detections of their pictures."""
    objects = [row for row, x in zip(block.objects, overlaps, strict=True) if row["iscrowd"] or low <= x < high]
    images = {row["image_id"] for row in objects if not row["iscrowd"]}
    chosen = ([dict(row) for row in rows if row["image_id"] in images] for rows in (objects, block.detections))
    return Block(sorted(images), *chosen)


def _by_keypoints(block: Block) -> Block:
    """Make the rows that keypoints are scored by from those of masks, of the images that have keypoints."""
    rows = [*block.objects, *block.detections]
    images = {row["image_id"] for row in rows if "keypoints" in row}
    objects = [found for row in block.objects if row["image_id"] in images for found in _posed(row)]
    return Block(
        sorted(images),
        [row | {"id": number} for number, row in enumerate(objects, 1)],
        [row | {"area": area_around(row["keypoints"])} for row in block.detections if row["image_id"] in images],
    )


def _posed(row: Row) -> Iterator[Row]:
    """Yield an object with the box and the number of its keypoints, or a crowd's connected regions, which have none."""
    if not row["iscrowd"]:
        seen = int((row["keypoints"][2::3] > 0).sum())
        yield row | {"num_keypoints": seen, "bbox": rle.toBbox(row["segmentation"]).tolist()}
        return
    _, _, regions, _ = cv2.connectedComponentsWithStats(rle.decode(row["segmentation"]))
    for *box, area in regions[1:].tolist():
        yield row | {"keypoints": np.zeros(3 * KEYPOINTS), "num_keypoints": 0, "bbox": box, "area": area}


def _texts(masks: Tensor) -> list[bytes]:
    """Compress masks (N, H, W); the counts of their RLE."""
    columns: UInt8Array = masks.detach().transpose(1, 2).contiguous().cpu().numpy().view(np.uint8)
    return [row["counts"] for row in rle.encode(columns.transpose(2, 1, 0))]  # pycocotools reads columns first


def _keypoints(keypoints: Tensor, count: int) -> Tensor:
    """Flatten and check the keypoints (N, 17, 3) of `count` persons: (N, 51)."""
    if keypoints.shape != (count, KEYPOINTS, 3):
        raise ValueError(f"the keypoints of {count} persons are {tuple(keypoints.shape)}; COCO's are ({count}, 17, 3)")
    if not keypoints.isfinite().all():
        raise ValueError("keypoints hold NaN or infinity")
    return keypoints.detach().cpu().flatten(1)
