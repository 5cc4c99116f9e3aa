"""Read and check COCO's files, annotations and results, for all that read them.

Every record is checked, of any category. What pycocotools reads wrongly, or past the end of its memory, is refused:
ids that occur twice, records of unlisted images, masks of another size, coordinates that cannot be meant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partwise.errors import InputError
from partwise.io.boxes import FARTHEST, LARGEST, REACH
from partwise.io.coco_masks import Rle, Size, damaged
from partwise.io.coco_records import Annotation, Annotations, Id, Result, named
from partwise.io.json_file import Misfit, read_json, shown

_WHOLE = "a whole number or a text"
_SIZE = f"a whole number of pixels from 1 to {LARGEST}, height and width of an image both or neither"
_NEAR = f"finite and at most {REACH} times the longer side of its image"
_RLE = "RLE: the size [height, width] of its image, and counts of as many pixels"
#: What is allowed in a field.
_ALLOWED = {
    "id": f"{_WHOLE}, which no other has",
    "image_id": "the id of a listed image",
    "category_id": "the id of a listed category",
    "file_name": "a text",
    "height": _SIZE,
    "width": _SIZE,
    "name": "a text",
    "score": "a finite number",
    "area": "a finite number of pixels from 0",
    "iscrowd": "0, 1, false or true",
    "num_keypoints": "a whole number from 0",
    "bbox": f"left, top, width, height in pixels, {_NEAR}, the last two not negative",
    "segmentation": f"flat polygons [[x, y, x, y, ...], ...] of 3 or more points, {_NEAR}",
    "size": _RLE,
    "counts": _RLE,
    "keypoints": f"x, y, visibility of each keypoint of its category, {_NEAR}; visibility of annotations 0, 1 or 2",
}


class _FaultError(ValueError):
    """What is wrong with a record.

    Args:
        field: its field, as a path.
        says: what the field is: "is 3".
    """

    def __init__(self, field: str, says: str) -> None:
        super().__init__(f"{field} {says}; allowed is {_ALLOWED[re.findall('[a-z_]+', field)[-1]]}")


def read_annotations(file: Path) -> Annotations:
    """Read COCO's json of images, annotations and categories, and check it; there may be none of each.

    Args:
        file: the json.

    Returns:
        its content.

    Raises:
        InputError: the file is missing or damaged, or a record is wrong; it is named by its id.
    """
    try:
        content = read_json(file, Annotations, _occurrences)
    except Misfit as misfit:
        raise InputError(f"{file}{_about(misfit)}") from misfit
    for kind in ("images", "categories", "annotations"):
        _check_ids([row.id for row in getattr(content, kind)], kind, file)
    for image in content.images:
        if (image.height is None) != (image.width is None):
            fault = _FaultError("height" if image.height is None else "width", "is missing")
            raise InputError(f"{file}: image {shown(image.id)}: {fault}")
    if len({type(image.id) for image in content.images}) > 1:
        raise InputError(f"{file} has both numbers and texts for ids of images; use numbers")
    sizes = {image.id: image.size for image in content.images}
    keypoints = {category.id: 3 * len(category.keypoints or ()) for category in content.categories}
    rows = content.annotations
    check_records(file, rows, sizes, lambda n: rows[n].named(n + 1), keypoints)
    return content


def read_results(file: Path, sizes: Mapping[Id, Size | None], truth: Path) -> list[Result]:
    """Read COCO's json list of results, and check it.

    Args:
        file: the json.
        sizes: (height, width) in pixels by id of the images; None if unknown.
        truth: file that lists the images, for messages.

    Returns:
        the results; there may be none. Their categories are not checked.

    Raises:
        InputError: the file is missing, damaged or no list, or a result is wrong; it is named, counted from 1.
    """
    rows = read_detections(file)
    for number, row in enumerate(rows, 1):
        if row.image_id not in sizes:
            raise InputError(
                f"{file}: result {number} is for image {shown(row.image_id)}, which {truth} does not list; take the "
                "json it was predicted for"
            )
    check_records(file, rows, sizes, lambda n: f"result {n + 1}")
    return rows


def read_detections(file: Path) -> list[Result]:
    """Read COCO's json list of results without the images that it is of; `check_records` does the rest.

    Args:
        file: the json.

    Returns:
        the results; there may be none.

    Raises:
        InputError: the file is missing, damaged or no list, or a field is of the wrong kind.
    """
    try:
        return read_json(file, list[Result], lambda rows: dict.fromkeys(Result.__struct_fields__, len(rows)))
    except Misfit as misfit:
        if not misfit.path:
            raise InputError(f"{file} holds no list; COCO's results are a json list of detections") from misfit
        raise InputError(f"{file}{_about(misfit)}") from misfit


def check_records(
    file: Path,
    rows: Sequence[Annotation | Result],
    sizes: Mapping[Id, Size | None],
    name: Callable[[int], str],
    keypoints: Mapping[Id, int] | None = None,
) -> None:
    """Check annotations or results against their images.

    Args:
        file: file of the records, for messages.
        rows: the records.
        sizes: (height, width) in pixels by id of the images; None if unknown.
        name: names a record of a position, for messages.
        keypoints: numbers for keypoints by id of the categories, 0 if unknown; None for results of any category.

    Raises:
        InputError: a record is wrong.
    """
    for n, row in enumerate(rows):
        try:
            _check(row, sizes, keypoints)
        except _FaultError as fault:
            raise InputError(f"{file}: {name(n)}: {fault}") from fault
    texts = [
        (n, row.segmentation.counts.encode("utf-8", "surrogatepass"), row.segmentation.size)
        for n, row in enumerate(rows)
        if isinstance(row.segmentation, Rle) and isinstance(row.segmentation.counts, str)
    ]
    wrong = damaged([text for _, text, _ in texts], [size for *_, size in texts])
    if wrong is not None:
        n, text, size = texts[wrong]
        says = f"{shown(text.decode(errors='replace'))} are damaged, or not of {size[0] * size[1]} pixels"
        raise InputError(f"{file}: {name(n)}: {_FaultError('segmentation.counts', says)}")


def _check(row: Annotation | Result, sizes: Mapping[Id, Size | None], keypoints: Mapping[Id, int] | None) -> None:
    """Raise _FaultError for what is wrong with a record, but for the text of an RLE."""
    if row.image_id not in sizes:
        raise _FaultError("image_id", f"is {shown(row.image_id)}, which the file does not list")
    if keypoints is not None and row.category_id not in keypoints:
        raise _FaultError("category_id", f"is {shown(row.category_id)}, which the file does not list")
    size = sizes[row.image_id]
    far = FARTHEST if size is None else REACH * max(size)
    reach = far if keypoints is not None else FARTHEST  # a result far away is wrong, not damaged
    mask, box, points = row.segmentation, row.bbox, row.keypoints
    if isinstance(mask, Rle):
        _check_rle(mask, size)
    elif mask:
        for n, polygon in enumerate(mask):
            if len(polygon) % 2 or max(polygon) > far or min(polygon) < -far:
                says = f"has {len(polygon)} numbers" if len(polygon) % 2 else f"reaches {max(polygon, key=abs)}"
                raise _FaultError(f"segmentation[{n}]", says)
    if box and (len(box) != 4 or max(box) > reach or min(box[:2]) < -reach or min(box[2:]) < 0):
        raise _FaultError("bbox", f"is {shown(box)}")
    if points:
        wanted = keypoints[row.category_id] if keypoints else 0
        if len(points) % 3 or (wanted and len(points) != wanted):
            raise _FaultError(
                "keypoints", f"has {len(points)} numbers" + (f" for {wanted // 3} keypoints" if wanted else "")
            )
        if max(points) > reach or min(points) < -reach:
            raise _FaultError("keypoints", f"reaches {max(points, key=abs)}")
        if keypoints is not None and not {0.0, 1.0, 2.0}.issuperset(points[2::3]):
            strange = next(v for v in points[2::3] if v not in (0, 1, 2))
            raise _FaultError("keypoints", f"has the visibility {shown(strange)}")


def _check_rle(mask: Rle, size: Size | None) -> None:
    if size is not None and mask.size != size:
        raise _FaultError("segmentation.size", f"is {list(mask.size)}, but its image is {list(size)}")
    pixels = mask.size[0] * mask.size[1]
    if isinstance(mask.counts, list) and sum(mask.counts) != pixels:
        raise _FaultError("segmentation.counts", f"are of {sum(mask.counts)} pixels, not {pixels}")


def _occurrences(content: Annotations) -> dict[str, int]:
    """How often keys occur."""
    annotations, categories = len(content.annotations), len(content.categories)
    of_annotations = dict.fromkeys(("image_id", "category_id", "segmentation", "bbox", "iscrowd"), annotations)
    return {"images": 1, "annotations": 1, "categories": 1, **of_annotations, "keypoints": annotations + categories}


def _check_ids(ids: Iterable[Id | None], kind: str, file: Path) -> None:
    given = [i for i in ids if i is not None]
    if len(set(given)) < len(given):
        ((twice, _),) = Counter(given).most_common(1)
        raise InputError(f"{file}: the id {shown(twice)} occurs twice in {kind!r}; number them anew")


def _about(misfit: Misfit) -> str:
    """The rest of a message: where a value is, what it is, and what is allowed."""
    path = misfit.path
    if len(path) < 1 or (isinstance(path[0], str) and len(path) < 2):
        key = f"{path[0]!r}" if path else "'images'"
        return f" has no list {key}; it should be COCO's json of images, annotations, categories"
    kind, position, *fields = path if isinstance(path[0], str) else ("results", *path)
    record = next((owner for owner in misfit.owners if isinstance(owner, dict) and owner is not misfit.owners[0]), {})
    if kind == "results":
        where = f"result {int(position) + 1}"
    else:
        where = named(str(kind), int(position) + 1, record.get("id") if fields[:1] != ["id"] else None)
    if not fields:
        return f": {where} {misfit.says}; it should be a json object"
    field, says = str(fields[0]), misfit.says
    if field == "segmentation" and _in_pairs(record.get(field)):
        fields, says = [field], "has its points as pairs [x, y]"
    place = field + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fields[1:])
    if kind == "categories" and field == "keypoints":
        return f": {where}: {place} {says}; allowed are names"
    return f": {where}: {_FaultError(place, says)}"


def _in_pairs(segmentation: Any) -> bool:
    """Whether polygons are written as lists of points."""
    polygons = (
        [polygon for polygon in segmentation if isinstance(polygon, list)] if isinstance(segmentation, list) else []
    )
    return any(len(polygon) == 2 or any(isinstance(point, list) for point in polygon) for polygon in polygons)
