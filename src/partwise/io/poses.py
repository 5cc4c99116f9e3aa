"""Poses of a json in COCO's form, whoever estimated or annotated them, and the pictures that they are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from partwise.arrays import BoolArray, Float32Array
from partwise.errors import InputError
from partwise.io.boxes import fault_of_points
from partwise.io.coco_json import read_annotations, read_detections
from partwise.io.coco_records import Id
from partwise.io.images import IMAGE_SUFFIXES
from partwise.io.json_file import shown
from partwise.io.text import read_text

LEAST = 0.3  # score up to which a keypoint of results counts as missing


class Pose(NamedTuple):
    """A person's keypoints.

    Attributes:
        number: of the person in the json, from 1.
        image_id: of the picture.
        file_name: of the picture; None if the json does not say.
        keypoints: (K, 3) x, y in pixels, and visibility or score, as they are in the json.
        known: (K,) which of them count.
        score: of the person; 1 of annotations.
    """

    number: int
    image_id: Id
    file_name: str | None
    keypoints: Float32Array
    known: BoolArray
    score: float

    @property
    def name(self) -> str:
        """What the json calls the picture: its file, or its id where it names none."""
        return str(self.image_id) if self.file_name is None else self.file_name


def read_poses(file: Path, joints: Collection[int], least: float = LEAST) -> list[Pose]:
    """Read the poses of COCO's annotations or results; persons without keypoints are left out.

    Args:
        file: the json.
        joints: numbers of keypoints that a person may have, such as COCO's 17.
        least: score up to which keypoints of results are missing; of annotations it is visibility 0.

    Returns:
        the poses, in the order of the json; there may be none.

    Raises:
        InputError: the file is missing or damaged, or a pose has another number of keypoints or reaches too far.
    """
    return list(_results(file, joints, least) if read_text(file).lstrip()[:1] == "[" else _annotated(file, joints))


def _results(file: Path, joints: Collection[int], least: float) -> Iterator[Pose]:
    for number, row in enumerate(read_detections(file), 1):
        if row.keypoints:
            points = _points(file, number, row.keypoints, joints)
            yield Pose(number, row.image_id, row.file_name, points, points[:, 2] > least, row.score)


def _annotated(file: Path, joints: Collection[int]) -> Iterator[Pose]:
    known = read_annotations(file)
    names = {image.id: image.file_name for image in known.images}
    for number, row in enumerate(known.annotations, 1):
        if row.keypoints and any(row.keypoints[2::3]):
            points = _points(file, number, row.keypoints, joints)
            yield Pose(number, row.image_id, names[row.image_id], points, points[:, 2] > 0, 1.0)


def _points(file: Path, number: int, values: list[float], joints: Collection[int]) -> Float32Array:
    if len(values) not in {3 * count for count in joints}:
        wanted = " or ".join(f"COCO's {n}" if n == 17 else f"MPII's {n}" for n in joints)
        raise InputError(
            f"{file}: pose {number} has {len(values)} numbers; wanted are x, y and visibility of {wanted} joints"
        )
    points = np.array(values, np.float64).reshape(-1, 3)
    if fault := fault_of_points(points):
        raise InputError(f"{file}: pose {number} {fault}; coordinates are pixels of its picture")
    return points.astype(np.float32)


class PictureNames:
    """Finds pictures by the names that a json has for them.

    A name's last part is that of the picture, its stem, or its stem as a number (7 is 000000000007.jpg). Of several
    pictures the name is of that whose folders agree with it the furthest.

    Args:
        paths: of the pictures.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._folders = [path.absolute().parts[-2::-1] for path in paths]  # the innermost first
        self._places: dict[str, list[int]] = defaultdict(list)
        for index, path in enumerate(paths):
            for key in {path.name, path.stem, _number(path.stem)}:
                self._places[key].append(index)

    def find(self, name: str) -> tuple[list[int], int]:
        """Find a picture.

        Args:
            name: path, name, stem or number of the picture.

        Returns:
            indices of the pictures that it may be, hopefully one; and how many of the name's folders agree.
        """
        last, *folders = PurePosixPath(name).parts[::-1] or ("",)
        near = self._places.get(last) or self._places.get(_number(last), [])
        agreeing = {index: _common(folders, self._folders[index]) for index in near}
        furthest = max(agreeing.values(), default=0)
        return [index for index, count in agreeing.items() if count == furthest], furthest


def _number(stem: str) -> str:
    return str(int(stem)) if stem.isascii() and stem.isdigit() else stem


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


class Claim(NamedTuple):
    """A pose that may be of a picture or frame."""

    pose: Pose
    place: int  # index of the picture, or number of the frame
    agreeing: int  # folders of the pose's name, or other parts of it, that agree
    whole: bool  # whether all do
    bare: bool  # whether there are none


def poses_of_pictures(poses: Sequence[Pose], paths: Sequence[Path], file: Path) -> dict[int, list[Pose]]:
    """Find out which poses are of which pictures, as `PictureNames` and `settle` say.

    Args:
        poses: of the json; those of other pictures are left out.
        paths: of the pictures.
        file: the json, for messages.

    Returns:
        The poses of each picture that has some, by its index, in the order of the json.

    Raises:
        InputError: a pose may be of several pictures, or a picture be meant by several names.
    """
    names = PictureNames(paths)
    found = {name: names.find(name) for name in {pose.name for pose in poses}}
    claims = []
    for pose in poses:
        indices, agreeing = found[pose.name]
        if len(indices) > 1:
            raise InputError(
                f"{file}: pose {pose.number} is of {shown(pose.name)}, which may be {paths[indices[0]]} or "
                f"{paths[indices[1]]}; name the picture by its path in file_name"
            )
        folders = len(PurePosixPath(pose.name).parts) - 1
        claims += [Claim(pose, index, agreeing, agreeing == folders, folders == 0) for index in indices]
    return settle(claims, file)


def settle(claims: Sequence[Claim], file: Path) -> dict[int, list[Pose]]:
    """Choose among the claims of poses.

    Where some names agree in all parts, those that do not are of other folders or videos. Of the names that mean one
    picture the one that agrees the furthest holds.

    Args:
        claims: in the order of the json.
        file: the json, for messages.

    Returns:
        The poses of each picture or frame that has some, by its index, in the order of the json.

    Raises:
        InputError: several names mean the same picture.
    """
    if any(claim.whole and not claim.bare for claim in claims):
        claims = [claim for claim in claims if claim.whole]
    furthest: dict[int, int] = defaultdict(int)
    for claim in claims:
        furthest[claim.place] = max(furthest[claim.place], claim.agreeing)
    chosen: dict[int, list[Pose]] = defaultdict(list)
    for claim in claims:
        if claim.agreeing == furthest[claim.place]:
            chosen[claim.place].append(claim.pose)
    for of_one in chosen.values():
        if len(names := sorted({pose.name for pose in of_one})) > 1:
            raise InputError(
                f"{file}: {shown(names[0])} and {shown(names[1])} would be the same picture; leave one out"
            )
    return dict(chosen)


def without_suffix(name: str) -> str:
    """Return a picture's name without the suffix that pictures have, if it has one."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
