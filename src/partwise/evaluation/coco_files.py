"""Read and check COCO's annotation and results files: pycocotools stops at a bad one inside, or reads past its end."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from partwise.arrays import Float64Array
from partwise.errors import InputError
from partwise.scores.coco import KEYPOINTS, IouType, area_around
from partwise.scores.coco_rle import Row, damaged

_DAMAGED = "has a mask whose RLE is damaged, its runs are not the pixels of its image; write it anew"


@dataclass(frozen=True)
class Truth:
    """The objects of an annotation file.

    Attributes:
        file: the json.
        images: the entries of the file by id.
        sizes: [height, width] by id; None where the file does not say.
        categories: ids of all categories of the file.
        scored: those that are evaluated, numbered from 1.
        objects: their annotations as `Block` has them, but with the file's image ids.
    """

    file: Path
    images: dict[Any, Row]
    sizes: dict[Any, list[int] | None]
    categories: frozenset[Any]
    scored: dict[Any, int]
    objects: list[Row]


def read_truth(file: Path, iou_type: IouType, names: Collection[str] = ()) -> Truth:
    """Read the objects of an annotation file, and check them; there may be none.

    Args:
        file: COCO's json of images, annotations and categories.
        iou_type: whether masks are wanted or keypoints.
        names: of the categories that are evaluated; all of the file if there are none.

    Returns:
        The objects of those categories, and what the file says of images and categories.

    Raises:
        InputError: it is missing or damaged, has no category of a name, or an object's record is wrong.
    """
    content = _load(file)
    images, categories, annotations = (_by_id(content, key, file) for key in ("images", "categories", "annotations"))
    if len({type(image) for image in images}) > 1:
        raise InputError(f"{file} has both numbers and texts for ids of images; use numbers")
    scored = _scored(categories, names, file)
    sizes = {image: _size(row) for image, row in images.items()}
    objects = []
    for number, (i, row) in enumerate(annotations.items(), 1):
        if not _known(row.get("category_id"), scored):
            continue  # as pycocotools does, whether the file lists its category or not
        try:
            about = {"id": number if i != 0 else 0, "category_id": scored[row["category_id"]]}
            objects.append(_object(row, sizes, iou_type) | about)
        except ValueError as problem:
            raise InputError(f"{file}: annotation {i} {problem}") from problem
        if i == 0:
            warnings.warn(f"{file}: pycocotools never finds annotation 0; number annotations from 1", stacklevel=2)
    if wrong := damaged(objects):
        raise InputError(f"{file}: an annotation of image {wrong['image_id']} {_DAMAGED}")
    return Truth(file, images, sizes, frozenset(categories), scored, objects)


def read_results(file: Path, truth: Truth, iou_type: IouType) -> list[Row]:
    """Read the detections of a results file, and check them.

    Those of categories that are not evaluated are left out; if the annotation file does not even list them, a warning
    says so.

    Args:
        file: COCO's list of results.
        truth: what they are scored against.
        iou_type: whether masks are wanted or keypoints.

    Returns:
        them as `Block` has them, but with the truth's ids of images.

    Raises:
        InputError: it is missing, damaged or empty, or a result is wrong.
    """
    rows = _load(file)
    if not isinstance(rows, list):
        raise InputError(f"{file} holds no list; COCO's results are a json list of detections")
    if not rows:
        raise InputError(f"{file} holds no results; it should have one for everything found")
    first = rows[0] if isinstance(rows[0], dict) else {}
    boxed = first.get("bbox", []) != []
    masked = iou_type == "segm" or (not boxed and "segmentation" in first)
    found, strange = [], []
    for number, row in enumerate(rows, 1):
        try:
            _check_result(row, truth)
            if row["category_id"] not in truth.categories:
                strange.append((number, row["category_id"]))
            elif row["category_id"] in truth.scored:
                found.append(_detection(row, number, truth, iou_type, boxed, masked))
        except ValueError as problem:
            raise InputError(f"{file}: result {number} {problem}") from problem
    if wrong := damaged(found):
        raise InputError(f"{file}: result {wrong['id']} {_DAMAGED}")
    if strange:
        first_one = "{} has {!r}".format(*strange[0])
        about = f"{len(strange)} of {len(rows)} results have categories that {truth.file} does not list"
        warnings.warn(f"{file}: {about}, and do not count; result {first_one}", stacklevel=2)
    if masked and not boxed:
        for low in range(0, len(found), 255):  # pycocotools keeps their number in a byte
            some = found[low : low + 255]
            for row, area in zip(some, rle.area([row["segmentation"] for row in some]).tolist(), strict=True):
                row["area"] = area
    return found


def _load(file: Path) -> Any:
    if not file.is_file():
        raise InputError(f"{file} is missing; name a json file")
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{file} is damaged or no json ({error}); write or download it again") from error


def _by_id(content: Any, key: str, file: Path) -> dict[Any, Row]:
    """The entries of a list of the annotation file."""
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{file} has no list {key!r}; ground truth is COCO's json of images, annotations, categories")
    found: dict[Any, Row] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or type(row.get("id")) not in (int, str):
            raise InputError(f"{file}: entry {number} of {key!r} has no id, a whole number or a text; write it anew")
        if found.setdefault(row["id"], row) is not row:
            raise InputError(f"{file}: the id {row['id']} occurs twice in {key!r}; number them anew")
    return found


def _scored(categories: dict[Any, Row], names: Collection[str], file: Path) -> dict[Any, int]:
    """The categories of those names, of all if there are none, numbered from 1."""
    given = [row.get("name") for row in categories.values()]
    if missing := [name for name in names if name not in given]:
        listed = ", ".join(str(name) for name in given[:10]) + (", ..." if len(given) > 10 else "")
        raise InputError(f"{file} has no category {missing[0]!r}; it has {listed or 'none'}")
    chosen = [i for i, name in zip(categories, given, strict=True) if not names or name in names]
    return {i: number for number, i in enumerate(chosen, 1)}


def _size(image: Row) -> list[int] | None:
    """[height, width], if it has both and they can be."""
    size = [side for side in (image.get("height"), image.get("width")) if type(side) is int and 0 < side < 1 << 15]
    return size if len(size) == 2 else None


def _object(row: Row, sizes: dict[Any, list[int] | None], iou_type: IouType) -> Row:
    """An annotation but for its id and category; ValueError says what is wrong with it."""
    image, crowd = row.get("image_id"), row.get("iscrowd", 0)
    if not _known(image, sizes):
        raise ValueError(f"is for image {image!r}, which the file does not list; add the image")
    if iou_type == "segm":
        found: Row = {"segmentation": _encoded(row.get("segmentation"), sizes[image])}
    else:
        keypoints = _keypoints(row)
        seen = int((keypoints[2::3] > 0).sum())
        found = {"keypoints": keypoints, "num_keypoints": row.get("num_keypoints", seen), "bbox": _box(row)}
    if not _numbers([row.get("area")], 1):
        raise ValueError(f"has the area {row.get('area')!r}; give its pixels")
    if crowd not in (0, 1):
        raise ValueError(f"has iscrowd {crowd!r}; give 0 or 1")
    return found | {"image_id": image, "area": row["area"], "iscrowd": int(crowd)}


def _check_result(row: Any, truth: Truth) -> None:
    """Raise ValueError for what is wrong with a result of any category."""
    if not isinstance(row, dict):
        raise ValueError("is no json object; write image_id, category_id, score and what was found")
    image, category = row.get("image_id"), row.get("category_id")
    if not _known(image, truth.sizes):
        raise ValueError(
            f"is for image {image!r}, which {truth.file} does not list; take the json it was predicted for"
        )
    if not isinstance(category, int | str):
        raise ValueError(f"has the category {category!r}; give one of the ids that {truth.file} lists")
    if not _numbers([row.get("score")], 1):
        raise ValueError(f"has the score {row.get('score')!r}; give a number")


def _detection(row: Row, number: int, truth: Truth, iou_type: IouType, boxed: bool, masked: bool) -> Row:
    """A result, without its area if that is a mask's; ValueError says what is wrong with it."""
    category = truth.scored[row["category_id"]]
    found = {"id": number, "image_id": row["image_id"], "category_id": category, "score": row["score"]}
    if masked:
        found["segmentation"] = _encoded(row.get("segmentation"), truth.sizes[row["image_id"]])
    if iou_type == "keypoints":
        found["keypoints"] = keypoints = _keypoints(row)
        found["area"] = area_around(keypoints)
    if boxed:
        _, _, width, height = _box(row)
        found["area"] = width * height
    return found


def _known(key: Any, among: Collection[Any]) -> bool:
    """Whether it is one of the ids; what cannot be looked up is none."""
    return isinstance(key, int | str) and key in among


def _numbers(values: Any, count: int) -> bool:
    """Whether it is a list of so many finite numbers."""
    try:
        return isinstance(values, list) and len(values) == count and all(map(math.isfinite, values))
    except (TypeError, OverflowError):
        return False


def _box(row: Row) -> list[float]:
    if not _numbers(row.get("bbox"), 4):
        raise ValueError(f"has the bbox {row.get('bbox')!r}; give left, top, width, height, or no result a bbox")
    return list(row["bbox"])


def _keypoints(row: Row) -> Float64Array:
    """(51,) x, y, visibility of COCO's keypoints."""
    values = row.get("keypoints")
    if not isinstance(values, list):
        raise ValueError("has no list of keypoints; name the category that has them, or compare masks")
    if len(values) != 3 * KEYPOINTS:
        raise ValueError(
            f"has {len(values)} numbers for keypoints; only COCO's {KEYPOINTS}, three each, can be compared"
        )
    if not _numbers(values, len(values)):
        raise ValueError("has keypoints that are no numbers; write x, y, visibility of each")
    return np.array(values, np.float64)


def _encoded(mask: Any, size: list[int] | None) -> Row:
    """The compressed RLE of polygons or of an RLE, whose text may still be damaged; ValueError says what is wrong."""
    if size is None:
        raise ValueError("is for an image without height and width, or with strange ones; give them in pixels")
    if isinstance(mask, list):
        return _of_polygons(mask, *size)
    if not isinstance(mask, dict):
        raise ValueError("has no mask; write polygons or RLE as 'segmentation', or compare keypoints")
    if mask.get("size") != size:
        raise ValueError(f"has a mask of {mask.get('size')}, height and width, but its image is {size}; write it anew")
    counts = mask.get("counts")
    if isinstance(counts, str) and counts.isascii():
        return {"size": size, "counts": counts.encode()}
    if isinstance(counts, list) and all(type(run) is int and 0 <= run <= size[0] * size[1] for run in counts):
        encoded: Row = rle.frPyObjects(mask, *size)
        return encoded
    raise ValueError(_DAMAGED)


def _of_polygons(polygons: list[Any], height: int, width: int) -> Row:
    far = 10 * max(height, width)  # drawing an outline takes memory by its length
    for polygon in polygons or [None]:
        whole = isinstance(polygon, list) and len(polygon) >= 4 and len(polygon) % 2 == 0
        if not (whole and _numbers(polygon, len(polygon)) and max(map(abs, polygon)) <= far):
            raise ValueError("has a polygon that is no list x, y, x, y, ... within its image; write its mask anew")
    merged: Row = rle.merge(rle.frPyObjects(polygons, height, width))
    return merged
