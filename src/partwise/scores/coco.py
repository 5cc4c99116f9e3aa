"""Compute COCO's AP, by masks or by keypoints, of rows in memory.

The metrics are pycocotools', means over the categories that have objects: it matches and averages, or
faster-coco-eval does to the same numbers. Left out is what no metric needs: small objects on their own, and fewer
detections an image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from partwise.arrays import Float64Array
from partwise.errors import InputError

Row: TypeAlias = dict[str, Any]
IouType = Literal["segm", "keypoints"]
Backend = Literal["pycocotools", "faster-coco-eval"]
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR")

#: COCO's keypoints, the only ones whose sigmas are part of the protocol.
KEYPOINTS = 17

#: The standard deviation of each one's place among annotators, in units of the root of the object's area.
SIGMAS = tuple(
    thousandths / 1000 for thousandths in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
)

#: Areas that metrics are for: all, medium, large.
_AREAS = 3

#: Pairs of a detection and an object that pycocotools matches in about 0.1 s.
_BLOCK = 20000


@dataclass
class Block:
    """Images with their objects and detections. The backends add to the rows.

    Attributes:
        images: numbers, ascending.
        objects: `id`, `image_id`, `category_id` from 1, `area`, `iscrowd`; for masks `segmentation`, a compressed
            RLE; for keypoints `keypoints` (51,), `num_keypoints` and `bbox`.
        detections: `id`, `image_id`, `category_id`, `area`, `score`, and `segmentation` or `keypoints`. Of equal
            scores in an image the first comes first.
    """

    images: list[int] = field(default_factory=list)
    objects: list[Row] = field(default_factory=list)
    detections: list[Row] = field(default_factory=list)

    def split(self) -> list[Block]:
        """Split into blocks of about equal work, of the same images in order."""
        single = {image: Block([image]) for image in self.images}
        for row in self.objects:
            single[row["image_id"]].objects.append(row)
        for row in self.detections:
            single[row["image_id"]].detections.append(row)
        blocks, work = [Block()], 0
        for image in single.values():
            if work >= _BLOCK:
                blocks.append(Block())
                work = 0
            blocks[-1].images += image.images
            blocks[-1].objects += image.objects
            blocks[-1].detections += image.detections
            work += (len(image.objects) + 1) * (len(image.detections) + 1)
        return blocks


_Matches: TypeAlias = list[Row | None]


_Over: TypeAlias = Callable[[Callable[[Block], _Matches], Sequence[Block]], Iterator[_Matches]]


def check_options(iou_type: IouType, backend: Backend) -> None:
    """Check that there is such an evaluation.

    Args:
        iou_type: whether masks are compared or keypoints.
        backend: what matches and averages.

    Raises:
        InputError: one of them does not exist, or the backend is not installed.
    """
    if iou_type not in get_args(IouType):
        raise InputError(f"iou type {iou_type} does not exist; it is one of {', '.join(get_args(IouType))}")
    _classes(backend)


def coco_metrics(
    block: Block, iou_type: IouType = "segm", backend: Backend = "pycocotools", over: _Over = map
) -> dict[str, float]:
    """Compute COCO's metrics.

    Args:
        block: all images. The metrics are means over the categories of its objects, crowds aside.
        iou_type: whether masks are compared or keypoints.
        backend: what matches and averages.
        over: how pycocotools goes over parts of the block; results in order.

    Returns:
        `METRICS` by name, fractions; NaN where undefined.
    """
    categories = sorted({row["category_id"] for row in block.objects if not row["iscrowd"]})
    if not categories:
        return dict.fromkeys(METRICS, math.nan)
    if backend == "pycocotools":
        matches = list(over(partial(_match, iou_type=iou_type, categories=categories), block.split()))
        evaluator = _evaluator(backend, Block(block.images), iou_type, categories)
        cells = range(len(categories) * _AREAS)
        evaluator.evalImgs = [m for cell in cells for part in matches for m in _of_cell(part, cell, len(cells))]
        evaluator._paramsEval = evaluator.params
    else:
        evaluator = _evaluator(backend, block, iou_type, categories)
        evaluator.evaluate()
    with redirect_stdout(io.StringIO()):
        evaluator.accumulate()
    # (threshold, recall, category, area) and (threshold, category, area)
    precision, recall = evaluator.eval["precision"][..., 0], evaluator.eval["recall"][..., 0]
    return {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),  # thresholds are 0.50, 0.55, ...
        "AP75": _mean(precision[5, ..., 0]),
        "APM": _mean(precision[..., 1]),
        "APL": _mean(precision[..., 2]),
        "AR": _mean(recall[..., 0]),
    }


def area_around(keypoints: Float64Array) -> float:
    """Return the area of a detection's keypoints (51,) as COCO has it: of the box around all of them, in pixels."""
    return float(np.ptp(keypoints[0::3]) * np.ptp(keypoints[1::3]))


def _match(block: Block, iou_type: IouType, categories: Sequence[int]) -> _Matches:
    """What pycocotools' `accumulate` reads, of every category, area and image."""
    evaluator = _evaluator("pycocotools", block, iou_type, categories)
    with redirect_stdout(io.StringIO()):
        evaluator.evaluate()
    kept = ("dtScores", "dtIgnore", "gtIgnore")
    return [
        m and {**{key: m[key] for key in kept}, "dtMatches": m["dtMatches"] != 0}  # whether, not which
        for m in evaluator.evalImgs
    ]


def _of_cell(matches: _Matches, cell: int, cells: int) -> _Matches:
    """Those of one category and area."""
    images = len(matches) // cells
    return matches[cell * images : (cell + 1) * images]


def _classes(backend: Backend) -> tuple[Any, Any]:
    """The backend's COCO and COCOeval."""
    if backend == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return COCO, COCOeval
    if backend not in get_args(Backend):
        raise InputError(f"backend {backend} does not exist; it is one of {', '.join(get_args(Backend))}")
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise InputError(
            f"faster-coco-eval cannot be used ({error}); pip install faster-coco-eval, or take the pycocotools backend"
        ) from error
    return COCO, COCOeval_faster


def _evaluator(backend: Backend, block: Block, iou_type: IouType, categories: Sequence[int]) -> Any:
    """The backend's evaluator, set to the metrics wanted."""
    coco, coco_eval = _classes(backend)
    sides = []
    for rows in (block.objects, block.detections):
        side = coco()
        images = [{"id": image, "height": 0, "width": 0} for image in block.images]  # every mask knows its size
        side.dataset = {"images": images, "annotations": rows, "categories": [{"id": i} for i in categories]}
        with redirect_stdout(io.StringIO()):
            side.createIndex()
        sides.append(side)
    evaluator = coco_eval(*sides, iou_type)
    params = evaluator.params
    params.catIds = list(categories)
    areas = dict(zip(params.areaRngLbl, params.areaRng, strict=True))
    params.areaRng = [areas["all"], areas["medium"], areas["large"]]
    params.maxDets = params.maxDets[-1:]
    return evaluator


def _mean(values: Float64Array) -> float:
    """The mean of the defined ones; the backends write -1 for the others."""
    known = values[values > -1]
    return float(known.mean()) if known.size else math.nan
