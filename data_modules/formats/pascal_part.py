"""Read PASCAL-Part's `.mat` files (Chen et al., CVPR 2014) and the poses that Xia et al. (CVPR 2017) added to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from data_modules.formats.mat import read_mat
from partwise.arrays import BoolArray, Float32Array, Int32Array, UInt8Array
from partwise.errors import InputError
from partwise.io.images import check_size
from partwise.labels import PASCAL_PERSON_PART_LR

#: PASCAL-Part's own parts of a person behind each of the ten.
SOURCES = {
    "head": ("head", "hair", "leye", "reye", "lear", "rear", "lebrow", "rebrow", "nose", "mouth"),
    "torso": ("torso", "neck"),
    "left-upper-arm": ("luarm",),
    "right-upper-arm": ("ruarm",),
    "left-lower-arm": ("llarm", "lhand"),
    "right-lower-arm": ("rlarm", "rhand"),
    "left-upper-leg": ("luleg",),
    "right-upper-leg": ("ruleg",),
    "left-lower-leg": ("llleg", "lfoot"),
    "right-lower-leg": ("rlleg", "rfoot"),
}

#: Row of MPII's sixteen keypoints that each of the fourteen joints of Xia et al. becomes: forehead, neck, then
#: shoulder, elbow, wrist, hip, knee and ankle, first the left ones. The forehead stands in for MPII's head top and
#: the middle of the shoulders for its upper neck: `partwise.ops.mpii.pascal_heads` gives MPII's poses the same.
MPII_ROWS = (9, 8, 13, 14, 15, 3, 4, 5, 12, 11, 10, 2, 1, 0)
MPII_JOINTS = 16
_PELVIS, _HIPS = 6, (2, 3)

_IDS = {source: PASCAL_PERSON_PART_LR.id_of(part) for part, sources in SOURCES.items() for source in sources}


@dataclass(frozen=True)
class Person:
    """One person of a picture.

    Attributes:
        mask: (H, W) bool, the whole person.
        parts: (H, W) ids of `PASCAL_PERSON_PART_LR`, 0 where no part is labelled.
    """

    mask: BoolArray
    parts: UInt8Array


def read_people(file: Path, size: Sequence[int]) -> list[Person]:
    """Read the persons of a picture; other objects are left out.

    Args:
        file: `Annotations_Part/ID.mat`: `anno.objects[i]` with class, mask and parts, `parts[j]` with part_name and
            mask. A person may have no parts. Where parts of a person overlap, the later one counts.
        size: (H, W) of the picture.

    Returns:
        The persons in the file's order.

    Raises:
        InputError: the file is missing, damaged, of another size, or names a part that persons do not have.
    """
    return [_person(thing, size, file) for thing in _person_objects(file)]


def shows_people(file: Path) -> bool:
    """Return whether a picture has persons; raise InputError if its file cannot be read."""
    return bool(_person_objects(file))


def paint(people: Sequence[Person], size: Sequence[int]) -> tuple[UInt8Array, Int32Array]:
    """Paint persons into disjoint maps.

    Of overlapping persons the later one is in front. A pixel of a part always belongs to the part's person, also
    where another's outline covers it.

    Args:
        people: back to front.
        size: (H, W) of the picture.

    Returns:
        parts (H, W), ids of `PASCAL_PERSON_PART_LR`; persons (H, W), 1 for the first, 0 for nobody.
    """
    parts, persons = np.zeros(tuple(size), np.uint8), np.zeros(tuple(size), np.int32)
    for n, person in enumerate(people, 1):
        persons[person.mask] = n
    for n, person in enumerate(people, 1):
        labelled = person.parts > 0
        parts[labelled], persons[labelled] = person.parts[labelled], n
    return parts, persons


def read_poses(file: Path) -> Float32Array:
    """Read the poses of a picture in MPII's order.

    Args:
        file: `PersonJoints/ID.mat`; `joints` is a row of cells (14, 3) of x, y and whether the joint is annotated.

    Returns:
        (N, 16, 3) x, y in pixels and visibility: 2 for annotated joints, else (0, 0, 0). MPII's thorax never is; the
        pelvis is the middle of the hips.

    Raises:
        InputError: the file is missing, damaged, or a pose has other joints.
    """
    joints = np.asarray(read_mat(file, "joints"))
    cells = list(joints.ravel()) if joints.dtype == object else [joints] if joints.size else []  # scipy unwraps one
    poses = np.zeros((len(cells), MPII_JOINTS, 3), np.float32)
    for pose, cell in zip(poses, cells, strict=True):
        found = np.asarray(cell)
        if found.shape != (len(MPII_ROWS), 3) or found.dtype.kind not in "fiu":
            raise InputError(
                f"{file} holds a pose of shape {found.shape}, not (14, 3); take the PersonJoints of Xia et al."
            )
        pose[list(MPII_ROWS)] = found
    annotated = np.isfinite(poses).all(-1) & (poses[..., 2] != 0)
    poses[..., 2] = 2
    poses[~annotated] = 0
    hips = poses[:, _HIPS]
    poses[:, _PELVIS] = np.where((hips[..., 2] > 0).all(-1, keepdims=True), hips.mean(1), 0)
    return poses


def match_poses(poses: Float32Array, persons: Int32Array) -> Float32Array:
    """Match poses to persons, which the two annotations number independently.

    The match puts as many joints as possible on their own person. A pose with less than a third of its joints there
    belongs to nobody.

    Args:
        poses: (N, K, 3) x, y, visibility.
        persons: (H, W) ids 1..M, 0 = nobody.

    Returns:
        (M + rest, K, 3): row n - 1 is the pose of person n, zeros if it has none; the rest belong to nobody.
    """
    height, width = persons.shape
    count = int(persons.max(initial=0))
    column = poses[..., 0].round().astype(int).clip(0, width - 1)
    row = poses[..., 1].round().astype(int).clip(0, height - 1)
    known = poses[..., 2] > 0
    on = (persons[row, column][..., None] == np.arange(1, count + 1)) & known[..., None]  # (N, K, M)
    share = on.sum(1) / known.sum(1).clip(1)[:, None]
    matched = [(n, m) for n, m in zip(*linear_sum_assignment(-share), strict=True) if share[n, m] >= 1 / 3]
    ordered = np.zeros((count, *poses.shape[1:]), np.float32)
    for n, m in matched:
        ordered[m] = poses[n]
    return np.concatenate([ordered, np.delete(poses, [n for n, _ in matched], axis=0)])


def _person(thing: Any, size: Sequence[int], file: Path) -> Person:
    parts = np.zeros(tuple(size), np.uint8)
    for part in _structs(_field(thing, "parts", file)):
        name = str(_field(part, "part_name", file))
        if name not in _IDS:
            raise InputError(
                f"{file} names the part {name[:80]!r}, which persons of PASCAL-Part do not have; mend the file"
            )
        parts[_mask(part, size, file)] = _IDS[name]
    return Person(_mask(thing, size, file), parts)


def _mask(thing: Any, size: Sequence[int], file: Path) -> BoolArray:
    mask = np.atleast_2d(_field(thing, "mask", file))
    check_size(mask, size, file)
    if mask.dtype.kind not in "biuf":
        raise InputError(f"{file} holds a mask that is no numbers; download it again")
    return np.asarray(mask > 0)


def _person_objects(file: Path) -> list[Any]:
    things = _structs(_field(read_mat(file, "anno"), "objects", file))
    return [thing for thing in things if str(_field(thing, "class", file)) == "person"]


def _structs(value: Any) -> list[Any]:
    """The elements of a struct array, of which scipy unwraps a single one."""
    return list(np.atleast_1d(value))


def _field(struct: Any, name: str, file: Path) -> Any:
    if not hasattr(struct, name):
        raise InputError(f"{file} is no file of PASCAL-Part: a struct lacks the field {name!r}; download it again")
    return getattr(struct, name)
