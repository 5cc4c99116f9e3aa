"""Compute COCO's AP, by masks or by keypoints: a results json against an annotation json.

The files are checked by `partwise.io.coco_json`. Four traits of pycocotools are kept because metrics depend on them:
the area of a result is that of its `bbox` if the first result has one, else of its mask or keypoints; equal scores go
by image id; a result of a category that is not listed does not count, and an annotation with the id 0 is never found,
of which warnings tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from partwise.errors import InputError
from partwise.evaluation.coco_files import Truth, read_results, read_truth
from partwise.evaluation.files import each
from partwise.scores.coco import Backend, Block, IouType, Row, check_options, coco_metrics
from partwise.scores.defined import defined


def evaluate(
    gt: Path,
    pred: Path,
    *,
    workers: int | None = None,
    iou_type: IouType = "segm",
    backend: Backend = "pycocotools",
    categories: Collection[str] = (),
) -> dict[str, float | None]:
    """Score a results file.

    AR is that of 100 detections an image and category for masks, of 20 for keypoints. A category without objects has no
    metrics and is left out of the means, with its detections.

    Args:
        gt: COCO's json of images, annotations and categories.
        pred: COCO's list of results; masks as polygons or RLE.
        workers: processes of pycocotools; None takes one a core. faster-coco-eval has threads of its own.
        iou_type: whether masks are compared or keypoints.
        backend: what matches and averages. faster-coco-eval must have been installed.
        categories: names of those to evaluate; all of the annotation file by default. Annotations and results of others
            are left out.

    Returns:
        `AP`, `AP50`, `AP75`, `APM`, `APL` and `AR`, fractions; None where undefined.

    Raises:
        InputError: a file is missing or damaged, or a record in it is wrong; it is named.
    """
    check_options(iou_type, backend)
    truth = read_truth(gt, iou_type, categories)
    if not truth.objects:
        wanted = " or ".join(categories) or "object"
        raise InputError(f"{gt} annotates no {wanted}; take a file that does, test sets have none")
    return measured(truth, read_results(pred, truth, iou_type), workers, iou_type, backend)


def measured(
    truth: Truth, detections: Sequence[Row], workers: int | None, iou_type: IouType, backend: Backend
) -> dict[str, float | None]:
    """Score a file's detections, under a progress bar.

    Args:
        truth: the objects.
        detections: as `read_results` gives them.
        workers: processes of pycocotools; None takes one a core.
        iou_type: whether masks are compared or keypoints.
        backend: what matches and averages.

    Returns:
        COCO's metrics by name, fractions; None where undefined.
    """
    number = {image: n for n, image in enumerate(sorted(truth.images))}
    block = Block(
        list(number.values()),
        [{**row, "image_id": number[row["image_id"]]} for row in truth.objects],
        [{**row, "image_id": number[row["image_id"]]} for row in detections],
    )
    over = partial(each, workers=workers, title="images")
    return {name: defined(value) for name, value in coco_metrics(block, iou_type, backend, over).items()}
