"""Text files beside id maps, whose rows describe the objects of a map.

Ground truth names each object by its id (VIP, CIHP: `Instance_ids/ID.txt`); in results, line n belongs to id n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partwise.arrays import Float64Array, Int64Array, IntArray
from partwise.errors import InputError
from partwise.io.boxes import fault_of_box

#: Fields of a row in results; a box is in pixels.
SCORE = "score"
SCORE_AND_BOX = "score y1 x1 y2 x2"
CLASS_AND_SCORE = "class score"


def read_instance_classes(file: Path, num_classes: int) -> dict[int, int]:
    """Read the classes of part instances from rows "part_instance_id class_id human_id".

    Args:
        file: the text file.
        num_classes: classes, background included.

    Returns:
        from part instance id to class.

    Raises:
        InputError: the file is missing or damaged, or a class is unknown.
    """
    if not file.is_file():
        raise InputError(f"{file} is missing: each Instance_ids PNG needs the txt that names its classes")
    classes = {}
    for number, row in enumerate(_read(file).splitlines(), 1):
        if not row.strip():
            continue
        try:
            instance, part = (int(field) for field in row.split()[:2])
        except ValueError:
            raise InputError(f"{file}, line {number}: {row!r} is not 'part_instance_id class_id human_id'") from None
        if instance < 1:
            raise InputError(f"{file}, line {number}: part instance {instance} is no id; ids count from 1")
        classes[instance] = _known(part, num_classes, file, number)
    return classes


def covering(ids: IntArray, classes: dict[int, int], file: Path) -> dict[int, int]:
    """Check that every id of a ground-truth map has a class.

    Args:
        ids: ids of pixels, any shape, 0 = no object.
        classes: from id to class.
        file: the map's file, named in the message.

    Returns:
        `classes`.

    Raises:
        InputError: an id has no class.
    """
    bare = sorted(set(np.unique(ids).tolist()) - {0} - classes.keys())
    if bare:
        raise InputError(
            f"{file}: part instance {bare[0]} has no row in {file.with_suffix('.txt').name}; add its class"
        )
    return classes


def read_scores(file: Path, form: str = SCORE) -> Float64Array:
    """Read the scores of the objects of a result.

    Args:
        file: line n belongs to id n.
        form: names of a row's fields, the score first.

    Returns:
        (n,) float64.

    Raises:
        InputError: the file is missing, or a row has another form or a box that cannot be.
    """
    rows = _rows(file, form)
    return np.array([_score(fields[0], file, number) for number, fields in rows], dtype=np.float64)


def read_scored_classes(file: Path, num_classes: int) -> tuple[Int64Array, Float64Array]:
    """Read classes and scores of the part instances of a result.

    Args:
        file: line n, "class score", belongs to id n.
        num_classes: classes, background included, which no object has.

    Returns:
        (n,) int64 classes and (n,) float64 scores.

    Raises:
        InputError: the file is missing, a row has another form, or a class is unknown.
    """
    classes, scores = [], []
    for number, (part, score) in _rows(file, CLASS_AND_SCORE):
        if not part.is_integer():
            raise InputError(f"{file}, line {number}: class {part} is no id of a class")
        classes.append(_known(int(part), num_classes, file, number))
        scores.append(_score(score, file, number))
    return np.array(classes, dtype=np.int64), np.array(scores, dtype=np.float64)


def check_covered(ids: IntArray, rows: int, file: Path, text: Path) -> None:
    """Check that every id of a result has a row.

    Args:
        ids: ids of pixels, any shape.
        rows: number of rows in `text`.
        file: the map's file, named in the message.
        text: the text file beside it, named in the message.

    Raises:
        InputError: an id has no row.
    """
    if (highest := int(ids.max(initial=0))) > rows:
        raise InputError(f"{file} holds id {highest} but {text.name} has {rows} rows; line n is the row of id n")


def _rows(file: Path, form: str) -> Iterator[tuple[int, list[float]]]:
    """Yield line numbers and fields. Blank lines may only end a file: elsewhere an object would be without a row."""
    if not file.is_file():
        raise InputError(f"{file} is missing: write one row '{form}' for each id of its PNG, no row if there is none")
    for number, row in enumerate(_read(file).rstrip().splitlines(), 1):
        try:
            fields = [float(field) for field in row.split()]
        except ValueError:
            fields = []
        if len(fields) != len(form.split()):
            raise InputError(f"{file}, line {number}: {row!r} is not '{form}'")
        if form == SCORE_AND_BOX and (fault := fault_of_box(fields[1:])):
            raise InputError(
                f"{file}, line {number}: the box of {row!r} {fault}; write y1 <= y2 and x1 <= x2 in pixels"
            )
        yield number, fields


def _score(score: float, file: Path, number: int) -> float:
    if not math.isfinite(score):
        raise InputError(f"{file}, line {number}: score {score} has no rank; write a number")
    return score


def _known(part: int, num_classes: int, file: Path, number: int) -> int:
    if not 0 < part < num_classes:
        raise InputError(f"{file}, line {number}: class {part} is not in 1..{num_classes - 1}")
    return part


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file} ({error}); replace it with a whole text file") from error
