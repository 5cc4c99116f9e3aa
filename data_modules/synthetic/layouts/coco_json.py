"""Write rendered objects as COCO's json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from data_modules.synthetic.body.skeleton import COCO, JOINTS
from data_modules.synthetic.layouts import fragments
from data_modules.synthetic.layouts.shots import Shot
from partwise.arrays import BoolArray, Float32Array
from partwise.labels import LIMBS

PERSON = {
    "supercategory": "person", "id": 1, "name": "person", "keypoints": list(JOINTS[:COCO]),
    "skeleton": [[start + 1, end + 1] for start, end in LIMBS],  # counted from 1
}  # fmt: skip


def polygons(mask: BoolArray) -> list[list[float]]:
    """Trace the outlines of a mask (H, W), from which it can be filled again pixel by pixel, except for holes.

    Points lie a quarter of a pixel within the outermost pixels: rounding up or down stays on the same side of their
    centres.
    """
    doubled = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((contour[:, 0] + 0.5) / 2).ravel().tolist() for contour in contours]


def compressed(mask: BoolArray) -> dict[str, Any]:
    """Encode a mask (H, W) as an RLE with its counts as COCO's text."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def uncompressed(mask: BoolArray) -> dict[str, Any]:
    """Encode a mask (H, W) as an RLE with its counts as numbers, as COCO stores crowds."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return {"size": list(mask.shape), "counts": runs.tolist()}


def annotation(
    mask: BoolArray, segmentation: Any, keypoints: Float32Array | None = None, *, crowd: bool = False
) -> dict[str, Any]:
    """Describe one object, without its ids.

    Args:
        mask: (H, W) its pixels, at least one.
        segmentation: the mask as json.
        keypoints: (K, 3) x, y, visibility, if there are any.
        crowd: whether it is a region of many objects.

    Returns:
        The row of the json.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    about = {
        "category_id": 1, "iscrowd": int(crowd), "area": int(mask.sum()), "segmentation": segmentation,
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }  # fmt: skip
    if keypoints is not None:
        known = np.where(keypoints[:, 2:] > 0, keypoints, 0)
        about |= {"keypoints": known.round(2).ravel().tolist(), "num_keypoints": int((known[:, 2] > 0).sum())}
    return about


def leave_picture(shot: Shot, annotations: Sequence[Mapping[str, Any]], **further: Any) -> None:
    """Keep the description of a picture among the `fragments`, until all are written.

    Args:
        shot: the picture NAME.jpg, whose name is its number.
        annotations: its objects, output of `annotation`.
        further: what else the writer of the json wants to know, in plain containers.
    """
    about = {"id": int(shot.name), "file_name": f"{shot.name}.jpg", "height": shot.size[0], "width": shot.size[1]}
    fragments.leave(shot.root, int(shot.name), {**about, **further, "annotations": annotations})


def write_json(file: Path, pictures: Sequence[Mapping[str, Any]], categories: Sequence[Mapping[str, Any]]) -> None:
    """Write pictures and their objects as one json.

    Args:
        file: json to write.
        pictures: each with its `id`, `file_name`, `height`, `width` and list `annotations`.
        categories: rows of the json.
    """
    images = [{key: value for key, value in p.items() if key != "annotations"} for p in pictures]
    rows = [{"image_id": p["id"], **a} for p in pictures for a in p["annotations"]]
    content = {
        "info": {"description": "rendered stand-in", "version": "1.0"},
        "images": images,
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, 1)],
        "categories": list(categories),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
