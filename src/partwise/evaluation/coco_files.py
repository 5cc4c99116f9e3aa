"""Make rows for COCO's evaluators of annotation and results files."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from partwise.arrays import Float64Array
from partwise.errors import InputError
from partwise.io.coco_json import read_annotations
from partwise.io.coco_json import read_results as read_records
from partwise.io.coco_masks import Segmentation, Size, encode
from partwise.io.coco_records import Annotation, Category, Id, Image, Result
from partwise.scores.coco import KEYPOINTS, IouType, Row, area_around


@dataclass(frozen=True)
class Truth:
    """The objects of an annotation file.

    Attributes:
        file: the json.
        images: the images of the file by id.
        categories: ids of all categories of the file.
        scored: those that are evaluated, numbered from 1.
        objects: their annotations as `Block` has them, but with the file's image ids.
    """

    file: Path
    images: dict[Id, Image]
    categories: frozenset[Id]
    scored: dict[Id, int]
    objects: list[Row]


def read_truth(file: Path, iou_type: IouType, names: Collection[str] = ()) -> Truth:
    """Read the objects of an annotation file; there may be none.

    Args:
        file: COCO's json of images, annotations and categories.
        iou_type: whether masks are wanted or keypoints.
        names: of the categories that are evaluated; all of the file if there are none.

    Returns:
        The objects of those categories, and what the file says of images and categories.

    Raises:
        InputError: it is missing or damaged, has no category of a name, a record is wrong, or an object lacks what is
            compared.
    """
    content = read_annotations(file)
    images = {image.id: image for image in content.images}
    scored = _scored(content.categories, names, file)
    objects = []
    for number, annotation in enumerate(content.annotations, 1):
        if annotation.category_id not in scored:
            continue
        try:
            found = _object(annotation, images[annotation.image_id].size, iou_type)
        except ValueError as problem:
            raise InputError(f"{file}: {annotation.named(number)} {problem}") from problem
        if annotation.id == 0:
            warnings.warn(f"{file}: pycocotools never finds annotation 0; number annotations from 1", stacklevel=2)
        ids = {"id": number if annotation.id != 0 else 0, "image_id": annotation.image_id}
        objects.append(found | ids | {"category_id": scored[annotation.category_id]})
    return Truth(file, images, frozenset(category.id for category in content.categories), scored, objects)


def read_results(file: Path, truth: Truth, iou_type: IouType) -> list[Row]:
    """Read the detections of a results file; there may be none.

    Those of categories that are not evaluated are left out; if the annotation file does not even list them, a warning
    says so.

    Args:
        file: COCO's list of results.
        truth: what they are scored against.
        iou_type: whether masks are wanted or keypoints.

    Returns:
        them as `Block` has them, but with the truth's ids of images.

    Raises:
        InputError: it is missing or damaged, or a result is wrong or lacks what is compared.
    """
    sizes = {key: image.size for key, image in truth.images.items()}
    rows = read_records(file, sizes, truth.file)
    boxed = bool(rows and rows[0].bbox)
    masked = iou_type == "segm" or bool(rows and not boxed and rows[0].segmentation)
    found = []
    for number, row in enumerate(rows, 1):
        if row.category_id in truth.scored:
            try:
                found.append(_detection(row, number, truth, iou_type, boxed, masked))
            except ValueError as problem:
                raise InputError(f"{file}: result {number} {problem}") from problem
    strange = [
        (number, row.category_id) for number, row in enumerate(rows, 1) if row.category_id not in truth.categories
    ]
    if strange:
        first_one = "{} has {!r}".format(*strange[0])
        about = f"{len(strange)} of {len(rows)} results have categories that {truth.file} does not list"
        warnings.warn(f"{file}: {about}, and do not count; result {first_one}", stacklevel=2)
    if masked and not boxed:
        for low in range(0, len(found), 255):  # pycocotools keeps their number in a byte
            some = found[low : low + 255]
            for row_, area in zip(some, coco_mask.area([r["segmentation"] for r in some]).tolist(), strict=True):
                row_["area"] = area
    return found


def _scored(categories: Collection[Category], names: Collection[str], file: Path) -> dict[Id, int]:
    """The categories of those names, of all if there are none, numbered from 1."""
    given = [category.name for category in categories]
    if missing := [name for name in names if name not in given]:
        listed = ", ".join(str(name) for name in given[:10]) + (", ..." if len(given) > 10 else "")
        raise InputError(f"{file} has no category {missing[0]!r}; it has {listed or 'none'}")
    chosen = [category.id for category in categories if not names or category.name in names]
    return {i: number for number, i in enumerate(chosen, 1)}


def _object(annotation: Annotation, size: Size | None, iou_type: IouType) -> Row:
    """An annotation but for its ids; ValueError says what it lacks."""
    if iou_type == "segm":
        found: Row = {"segmentation": _mask(annotation.segmentation, size)}
    else:
        keypoints = _keypoints(annotation.keypoints)
        seen = int((keypoints[2::3] > 0).sum()) if annotation.num_keypoints is None else annotation.num_keypoints
        found = {"keypoints": keypoints, "num_keypoints": seen, "bbox": _box(annotation.bbox)}
    if annotation.area is None:
        raise ValueError("has no area; give its pixels")
    return found | {"area": annotation.area, "iscrowd": int(annotation.iscrowd or 0)}


def _detection(row: Result, number: int, truth: Truth, iou_type: IouType, boxed: bool, masked: bool) -> Row:
    """A result, without its area if that is a mask's; ValueError says what it lacks."""
    category = truth.scored[row.category_id]
    found: Row = {"id": number, "image_id": row.image_id, "category_id": category, "score": row.score}
    if masked:
        found["segmentation"] = _mask(row.segmentation, truth.images[row.image_id].size)
    if iou_type == "keypoints":
        found["keypoints"] = keypoints = _keypoints(row.keypoints)
        found["area"] = area_around(keypoints)
    if boxed:
        _, _, width, height = _box(row.bbox)
        found["area"] = width * height
    return found


def _box(box: list[float] | None) -> list[float]:
    if not box:
        raise ValueError("has no bbox; give left, top, width, height, or no result a bbox")
    return box


def _keypoints(values: list[float] | None) -> Float64Array:
    """(51,) x, y, visibility of COCO's keypoints."""
    if values is None:
        raise ValueError("has no list of keypoints; name the category that has them, or compare masks")
    if len(values) != 3 * KEYPOINTS:
        raise ValueError(
            f"has {len(values)} numbers for keypoints; only COCO's {KEYPOINTS}, three each, can be compared"
        )
    return np.array(values, np.float64)


def _mask(mask: Segmentation | None, size: Size | None) -> Row:
    """The compressed RLE of a mask."""
    if size is None:
        raise ValueError("is for an image without height and width; give them in pixels")
    if not mask:
        raise ValueError("has no mask; write polygons or RLE as 'segmentation', or compare keypoints")
    return encode(mask, size)
