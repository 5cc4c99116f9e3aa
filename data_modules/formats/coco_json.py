"""Read COCO-style json: the pictures of a file and the objects in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from data_modules.formats.notes import Arrays, noted, packed, unpacked
from partwise.arrays import BoolArray, Float32Array
from partwise.errors import InputError
from partwise.io.coco_json import check_records, read_annotations
from partwise.io.coco_masks import Segmentation, Size, encode
from partwise.io.coco_records import Annotation, Annotations, Category, Id

#: The record of a picture: its size in the json, and its objects.
_Record = tuple[Size | None, list[Annotation]]


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
        self.image_ids: list[Id] = about["image_ids"]
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

    def things(self, name: str, size: Size) -> list[Thing]:
        """Decode the objects of a picture.

        Args:
            name: file name of the picture.
            size: (H, W) of the picture.

        Returns:
            The objects in the order of the json.

        Raises:
            InputError: the picture has another size than in the json.
        """
        row = self._row[name]
        listed, objects = msgspec.json.decode(self._text[self._ends[row] : self._ends[row + 1]].data, type=_Record)
        if listed is None:  # the file says no size to check its objects against
            where = [f"annotation {a.id} of {name}" for a in objects]
            check_records(self.file, objects, {self.image_ids[row]: size}, where.__getitem__)
        elif listed != size:
            raise InputError(
                f"{name} is {size[1]}x{size[0]} but {self.file} says {listed[1]}x{listed[0]}; use the pictures it is "
                "for"
            )
        return [self._thing(a, size) for a in objects]

    def _thing(self, annotation: Annotation, size: Size) -> Thing:
        keypoints = np.array(annotation.keypoints or [0] * 3 * self.num_keypoints, np.float32).reshape(-1, 3)
        left, top, wide, high = annotation.bbox or (0, 0, 0, 0)
        mask = decode(annotation.segmentation, size) if annotation.segmentation else None
        return Thing(mask, (left, top, wide, high), keypoints, bool(annotation.iscrowd))


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
    content = read_annotations(file)
    chosen = {c.id: c for c in content.categories if categories is None or c.name in categories}
    if not chosen:
        raise InputError(f"{file} has no category {' or '.join(categories or ('at all',))}; take another json")
    names = _names(content, file)
    objects = defaultdict[Id, list[Annotation]](list)
    for annotation in content.annotations:
        if annotation.category_id in chosen:
            objects[annotation.image_id].append(annotation)
    used = {a.category_id for found in objects.values() for a in found}
    keypoint_names = _keypoint_names([chosen[i] for i in used], file)
    about = {
        "names": names,
        "image_ids": [image.id for image in content.images],
        "keypoint_names": keypoint_names,
        "num_keypoints": len(keypoint_names) or num_keypoints,
    }
    _check_keypoints(content, chosen, len(keypoint_names) or num_keypoints, file)
    rows = [msgspec.json.encode((image.size, objects[image.id])) for image in content.images]
    return {
        "about": packed(about),
        "num_objects": np.array([sum(not a.iscrowd for a in objects[image.id]) for image in content.images]),
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


def decode(mask: Segmentation, size: Size) -> BoolArray:
    """Decode a checked mask.

    Args:
        mask: polygons or an RLE.
        size: (H, W) of the picture.

    Returns:
        (H, W).
    """
    return np.asarray(coco_mask.decode(encode(mask, size)), dtype=bool)


def _names(content: Annotations, file: Path) -> list[str]:
    """The pictures' file names, each once, and below the folder of the pictures."""
    if not content.images:
        raise InputError(f"{file} lists no picture; take a list that does")
    names = [image.file_name or "" for image in content.images]
    for image, name in zip(content.images, names, strict=True):
        path = PureWindowsPath(name)  # which knows what is a path anywhere
        if not name or "\\" in name or "\0" in name or path.anchor or ".." in path.parts:
            raise InputError(
                f"{file}: image {image.id!r} has the file_name {image.file_name!r}; allowed is a name or a path with / "
                "below the folder of the pictures"
            )
    if len(set(names)) < len(names):
        ((twice, _),) = Counter(names).most_common(1)
        raise InputError(f"{file} lists the picture {twice!r} twice; each file_name must occur once")
    return names


def _keypoint_names(categories: Sequence[Category], file: Path) -> tuple[str, ...]:
    found = {tuple(category.keypoints or ()) for category in categories} or {()}
    if len(found) > 1:
        raise InputError(f"{file}: its categories have different keypoints; choose some that share theirs")
    return found.pop()


def _check_keypoints(content: Annotations, chosen: Collection[Id], count: int, file: Path) -> None:
    """Check that objects have so many keypoints or none, also where their category does not name them."""
    for number, a in enumerate(content.annotations, 1):
        if a.category_id in chosen and a.keypoints and len(a.keypoints) != 3 * count:
            raise InputError(
                f"{file}: {a.named(number)} has {len(a.keypoints)} numbers for {count} keypoints, not three each"
            )
