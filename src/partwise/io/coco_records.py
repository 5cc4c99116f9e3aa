"""Forms of the records in COCO's files, annotations and results. Fields that they do not have are skipped."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from partwise.io.coco_masks import Count, Segmentation, Side, Size
from partwise.io.json_file import shown

_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}

Id: TypeAlias = int | str


class Image(msgspec.Struct, gc=False):
    """Image of an annotation file, with `height` and `width` in pixels, both or neither."""

    id: Id
    file_name: str | None = None
    height: Side | None = None
    width: Side | None = None

    @property
    def size(self) -> Size | None:
        """(height, width) in pixels; None if the file does not say."""
        return None if self.height is None or self.width is None else (self.height, self.width)


class Category(msgspec.Struct):
    """Category of an annotation file, with the names of its keypoints."""

    id: Id
    name: str | None = None
    keypoints: list[str] | None = None


class Annotation(msgspec.Struct, omit_defaults=True, gc=False):
    """Object of an annotation file.

    Attributes:
        image_id: id of its image.
        category_id: id of its category.
        id: its own, if it has one.
        segmentation: polygons x, y, x, y, ... or an RLE.
        bbox: left, top, width, height in pixels, or empty.
        keypoints: x, y in pixels and visibility 0, 1 or 2 of each.
        num_keypoints: of the visible ones.
        area: in pixels.
        iscrowd: 0 or false for one object; 1 or true for a region of many.
    """

    image_id: Id
    category_id: Id
    id: Id | None = None
    segmentation: Segmentation | None = None
    bbox: list[float] | None = None
    keypoints: list[float] | None = None
    num_keypoints: Count | None = None
    area: Annotated[float, msgspec.Meta(ge=0)] | None = None
    iscrowd: Literal[0, 1] | bool | None = None

    def named(self, number: int) -> str:
        """Name it by its id, or by its number in the file, counted from 1, if it has none."""
        return named("annotations", number, self.id)


class Result(msgspec.Struct, gc=False):
    """Detection of a results file; its third number of a keypoint may be a score.

    `file_name` names its picture or video in what `task=predict` writes; COCO has none.
    """

    image_id: Id
    category_id: Id
    score: float
    segmentation: Segmentation | None = None
    bbox: list[float] | None = None
    keypoints: list[float] | None = None
    file_name: str | None = None


class Annotations(msgspec.Struct):
    """Content of an annotation file."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


def named(kind: str, number: int, own: Any) -> str:
    """Name a record.

    Args:
        kind: key of its list.
        number: its number there, counted from 1.
        own: its id, None if it has none.

    Returns:
        its name in messages.
    """
    return f"{_SINGULAR[kind]} {shown(own)}" if own is not None else f"entry {number} of {kind!r}"
