"""COCO's json: how a rendered object is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from data_modules.synthetic.body.skeleton import COCO, JOINTS
from partwise.arrays import BoolArray, Float32Array

#: COCO's edges between keypoints, counted from 1.
_SKELETON = [[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9], [8, 10],
             [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]]  # fmt: skip

PERSON = {
    "supercategory": "person", "id": 1, "name": "person", "keypoints": list(JOINTS[:COCO]), "skeleton": _SKELETON,
}  # fmt: skip


def polygons(mask: BoolArray) -> list[list[float]]:
    """Outlines x, y, x, y, ... around a mask (H, W), which give it back pixel by pixel but for its holes.

    Points lie a quarter of a pixel within the outermost pixels, on either side of whose centres no rounding leads.
    """
    doubled = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((contour[:, 0] + 0.5) / 2).ravel().tolist() for contour in contours]


def compressed(mask: BoolArray) -> dict[str, Any]:
    """The RLE of a mask (H, W) with its counts as COCO's text."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def uncompressed(mask: BoolArray) -> dict[str, Any]:
    """The RLE of a mask (H, W) with its counts as numbers, as COCO stores crowds."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return {"size": list(mask.shape), "counts": runs.tolist()}


def annotation(
    mask: BoolArray, segmentation: Any, keypoints: Float32Array | None = None, *, crowd: bool = False
) -> dict[str, Any]:
    """One object without its ids.

    Args:
        mask: (H, W) its pixels, at least one.
        segmentation: the same as json.
        keypoints: (K, 3), if there are any.
        crowd: whether it is a region of many.
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


def write_json(file: Path, pictures: Sequence[Mapping[str, Any]], categories: Sequence[Mapping[str, Any]]) -> None:
    """Write pictures, each with its `id`, `file_name`, `height`, `width` and list `annotations`, as one json."""
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
