"""Read COCO-style json: the pictures of a file and the objects in them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from data_modules.formats.notes import Arrays, noted, packed, unpacked
from partwise.arrays import BoolArray, Float32Array
from partwise.errors import InputError

#: What is kept of an annotation.
_KEPT = ("iscrowd", "segmentation", "bbox", "keypoints")


@dataclass(frozen=True)
class Thing:
    """One annotated object.

    Attributes:
        mask: (H, W) its pixels; None if the file has none.
        box: left, top, width, height in pixels.
        keypoints: (K, 3) x, y, visibility 0, 1 or 2; zeros if the file has none.
        crowd: whether it is a region of many objects, which is left out of training and scores.
    """

    mask: BoolArray | None
    box: tuple[float, float, float, float]
    keypoints: Float32Array
    crowd: bool


class CocoIndex:
    """Index of the pictures and objects of a json, packed into a few arrays that loader processes share.

    Args:
        file: the json.
        arrays: output of `index_json`.

    Attributes:
        file: the json.
        names: file names of the pictures, in the order of the json.
        image_ids: the json's ids of the pictures, as results files use them.
        keypoint_names: names of the keypoints; empty if the json has none.
    """

    def __init__(self, file: Path, arrays: Arrays) -> None:
        self.file = file
        about = unpacked(arrays["about"])
        self.names: list[str] = about["names"]
        self.image_ids: list[Any] = about["image_ids"]
        self.keypoint_names = tuple(about["keypoint_names"])
        self.num_keypoints = int(about["num_keypoints"])
        self.num_objects: list[int] = arrays["num_objects"].tolist()
        self._row = {name: row for row, name in enumerate(self.names)}
        self._text, self._ends = arrays["text"], arrays["ends"]

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def occupied(self) -> list[str]:
        """Return the names of the pictures with an object that is no crowd."""
        return [name for name, count in zip(self.names, self.num_objects, strict=True) if count]

    def count(self, names: Iterable[str]) -> int:
        """Count the objects of the named pictures that are no crowds."""
        return sum(self.num_objects[self._row[name]] for name in names)

    def things(self, name: str, size: tuple[int, int]) -> list[Thing]:
        """Decode the objects of a picture.

        Args:
            name: file name of the picture.
            size: (H, W) of the picture.

        Returns:
            The objects in the order of the json.

        Raises:
            InputError: an object is described wrongly, or for a picture of another size.
        """
        row = self._row[name]
        height, width, objects = json.loads(self._text[self._ends[row] : self._ends[row + 1]].tobytes())
        if height is not None and (height, width) != size:
            raise InputError(
                f"{name} is {size[1]}x{size[0]} but {self.file} says {width}x{height}; use the pictures it is for"
            )
        return [self._thing(a, size, f"annotation {a.get('id')} of {name} in {self.file}") for a in objects]

    def _thing(self, annotation: Mapping[str, Any], size: tuple[int, int], where: str) -> Thing:
        points = annotation.get("keypoints") or [0] * 3 * self.num_keypoints
        if len(points) != 3 * self.num_keypoints:
            raise InputError(f"{where} has {len(points)} numbers for {self.num_keypoints} keypoints, not three each")
        segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
        try:
            keypoints = np.array(points, np.float32).reshape(-1, 3)
            left, top, wide, high = map(float, box or (0, 0, 0, 0))
            mask = decode(segmentation, size) if segmentation else None
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{where} is damaged ({error}); mend it or remove it") from error
        return Thing(mask, (left, top, wide, high), keypoints, bool(annotation.get("iscrowd")))


def index_json(file: Path, categories: Collection[str] | None, num_keypoints: int) -> Arrays:
    """Parse a COCO-style json into the arrays of a `CocoIndex`.

    Args:
        file: the json.
        categories: names of the categories to keep; None keeps all.
        num_keypoints: keypoints of an object, where the categories do not name them.

    Returns:
        Arrays by name.

    Raises:
        InputError: the file is missing, damaged, or no such json.
    """
    content = _load(file)
    chosen = {c["id"]: c for c in content["categories"] if categories is None or c["name"] in categories}
    if not chosen:
        raise InputError(f"{file} has no category {' or '.join(categories or ('at all',))}; take another json")
    objects = _by_image(content, chosen, file)
    used = {a["category_id"] for found in objects.values() for a in found}
    keypoint_names = _keypoint_names([chosen[i] for i in used], file)
    images = content["images"]
    names = [str(image["file_name"]) for image in images]
    if len(set(names)) < len(names):
        raise InputError(f"{file} lists a picture twice; each file_name must occur once")
    about = {
        "names": names,
        "image_ids": [image["id"] for image in images],
        "keypoint_names": keypoint_names,
        "num_keypoints": len(keypoint_names) or num_keypoints,
    }
    rows = [
        json.dumps([image.get("height"), image.get("width"), [_kept(a) for a in objects[image["id"]]]]).encode()
        for image in images
    ]
    return {
        "about": packed(about),
        "num_objects": np.array([sum(not a.get("iscrowd") for a in objects[image["id"]]) for image in images]),
        "text": np.frombuffer(b"".join(rows), np.uint8),
        "ends": np.cumsum([0, *map(len, rows)]),
    }


def read_coco(file: Path, categories: Sequence[str] | None = None, num_keypoints: int = 17) -> CocoIndex:
    """Index a COCO-style json. A large one is parsed once and noted in the cache folder until the file changes.

    Args:
        file: the json.
        categories: names of the categories to keep; None keeps all.
        num_keypoints: keypoints of an object, where the categories do not name them.

    Returns:
        The index of the file's pictures and objects.

    Raises:
        InputError: the file is missing, damaged, or no such json.
    """
    if not file.is_file():
        raise InputError(f"{file} is missing; copy the dataset's annotations there")
    about = file.stat()
    kinds = None if categories is None else tuple(categories)
    return _cached(file, kinds, num_keypoints, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=4)  # a run asks for the same file when it checks, trains, validates and tests
def _cached(file: Path, kinds: tuple[str, ...] | None, num_keypoints: int, size: int, changed: int) -> CocoIndex:
    arrays = noted(
        "coco", [file], lambda: index_json(file, kinds, num_keypoints), kinds=kinds, num_keypoints=num_keypoints
    )
    return CocoIndex(file, arrays)


def decode(segmentation: Any, size: tuple[int, int]) -> BoolArray | None:
    """Decode polygons, or an RLE with its counts as numbers or as COCO's text.

    Args:
        segmentation: as json has it.
        size: (H, W) of the picture.

    Returns:
        The mask (H, W); None if it is empty.

    Raises:
        ValueError: an RLE has another size, or polygons are malformed.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        if tuple(segmentation["size"]) != size:
            raise ValueError(f"its RLE is for {segmentation['size']}, height and width, its picture is {list(size)}")
        runs = _runs(counts) if isinstance(counts, str) else counts
        if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
            raise ValueError(f"its RLE has not the {size[0] * size[1]} pixels of its picture")
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[1], size[0]).T
    # Fewer than three corners enclose nothing, and pycocotools would take four numbers for a box.
    polygons = [np.asarray(polygon, np.float64) for polygon in segmentation if len(polygon) >= 6]
    if any(p.ndim != 1 or len(p) % 2 or not np.isfinite(p).all() for p in polygons):
        raise ValueError("its polygon is no list x, y, x, y, ... of numbers")
    if not polygons:
        return None
    merged = coco_mask.merge(coco_mask.frPyObjects([p.tolist() for p in polygons], *size))
    return np.asarray(coco_mask.decode(merged), dtype=bool)


def _runs(text: str) -> list[int]:
    """Run lengths of COCO's compressed text: six bits a character, from the fourth run on relative to the one but last.

    pycocotools reads them too, but hands out memory that was never written when the text has been cut short.
    """
    runs: list[int] = []
    value = shift = 0
    for char in text.encode():
        bits = char - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _load(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The three lists of a json."""
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, OSError) as error:
        raise InputError(f"{file} is damaged or no json ({error}); copy or download it again") from error
    for key, needed in (("images", ("id", "file_name")), ("annotations", ("image_id", "category_id")),
                        ("categories", ("id", "name"))):  # fmt: skip
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise InputError(f"{file} has no list {key!r}; it should be COCO's json of images, annotations, categories")
        if any(not isinstance(row, dict) or name not in row for row in rows for name in needed):
            raise InputError(f"{file}: an entry of {key!r} lacks {' or '.join(needed)}; copy or download it again")
    if not content["images"]:
        raise InputError(f"{file} lists no picture; take a list that does")
    return dict(content)


def _by_image(content: Mapping[str, Any], chosen: Collection[Any], file: Path) -> dict[Any, list[dict[str, Any]]]:
    objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    known = {image["id"] for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in known:
            raise InputError(
                f"{file}: annotation {annotation.get('id')} is for picture {annotation['image_id']}, which it does not "
                "list; copy or download it again"
            )
        if annotation["category_id"] in chosen:
            objects[annotation["image_id"]].append(annotation)
    return objects


def _keypoint_names(categories: Sequence[Mapping[str, Any]], file: Path) -> tuple[str, ...]:
    found = {tuple(category.get("keypoints", ())) for category in categories} or {()}
    if len(found) > 1:
        raise InputError(f"{file}: its categories have different keypoints; choose some that share theirs")
    return found.pop()


def _kept(annotation: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": annotation.get("id"), **{key: annotation[key] for key in _KEPT if annotation.get(key)}}
