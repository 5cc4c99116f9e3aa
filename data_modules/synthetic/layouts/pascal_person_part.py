"""Write the stand-in of PASCAL-Part and Pascal-Person-Part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from data_modules.datasets.pascal_person_part import IMAGES, LISTS, MAPS, OBJECTS, POSES
from data_modules.synthetic.body.anatomy import Anatomy, Garment, Side
from data_modules.synthetic.body.skeleton import COCO, JOINTS
from data_modules.synthetic.layouts.shots import Shot
from data_modules.synthetic.layouts.stills import StillsWriter
from data_modules.synthetic.render.renderer import Frame
from partwise.arrays import AnyArray, BoolArray, Float32Array, Float64Array, UInt8Array
from partwise.io.images import write_labels
from partwise.labels import PASCAL_PERSON_PART, PASCAL_PERSON_PART_LR

#: PASCAL-Part's names of what is drawn; {} is l or r.
_NAMES = {
    Anatomy.HEAD: "head", Anatomy.NECK: "neck", Anatomy.TORSO: "torso", Anatomy.UPPER_ARM: "{}uarm",
    Anatomy.LOWER_ARM: "{}larm", Anatomy.HAND: "{}hand", Anatomy.THIGH: "{}uleg", Anatomy.SHANK: "{}lleg",
    Anatomy.FOOT: "{}foot",
}  # fmt: skip

#: COCO's joints in the order of Xia et al., after forehead and neck.
_LIMBS = [
    JOINTS.index(f"{side}_{joint}")
    for side in ("left", "right")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]

#: PASCAL VOC's class id of persons.
_PERSON = 15


@dataclass(frozen=True, kw_only=True)
class PascalPersonPartWriter(StillsWriter):
    """Writes VOC 2010's JPEGImages/, PASCAL-Part, Pascal-Person-Part and the poses of Xia et al. with rendered people.

    JPEGImages/ID.jpg; Annotations_Part/ID.mat with hair, hands, feet and neck as parts of their own;
    pascal_person_part/ with the PNGs of seven classes and the lists; PersonJoints/ID.mat with fourteen joints of
    everybody who is seen.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "pascal_person_part"
    lists = (f"{LISTS}/train_id.txt", f"{LISTS}/val_id.txt")
    dataset = "Pascal-Person-Part"
    ids = "2008_{number:06d}"
    stream = 13

    def write(self, root: Path) -> None:
        """Write the lists and the pictures into the empty folder `root`."""
        for folder in (OBJECTS, POSES):
            (root / folder).mkdir(parents=True)
        super().write(root)

    def write_picture(self, shot: Shot) -> None:
        """Write one picture with its parts, persons and poses."""
        root, name = shot.root, shot.name
        frame = shot.picture(root / IMAGES / f"{name}.jpg")
        png = root / MAPS / f"{name}.png"
        write_labels(png, frame.parts(PASCAL_PERSON_PART), PASCAL_PERSON_PART.colors)
        masks = _person_masks(frame)
        people = [
            {"class": "person", "class_ind": _PERSON, "mask": m, "parts": _parts(frame, m)} for m in masks.values()
        ]
        write_objects(root / OBJECTS / f"{name}.mat", people)
        write_poses(root / POSES / f"{name}.mat", [_pose(frame.keypoints[n - 1]) for n in masks])


def write_objects(file: Path, objects: Sequence[Mapping[str, Any]]) -> None:
    """Write a `.mat` of PASCAL-Part.

    Args:
        file: `ID.mat`.
        objects: each with class, class_ind, mask (H, W) bool and parts, a list of part_name and mask.
    """
    rows = [{**thing, "mask": _stored(thing["mask"]), "parts": _structs(thing["parts"])} for thing in objects]
    anno = {"imname": file.stem, "objects": _structs(rows)}
    scipy.io.savemat(str(file), {"anno": anno}, do_compression=True)


def write_poses(file: Path, poses: Sequence[Float64Array]) -> None:
    """Write a `.mat` of Xia et al.

    Args:
        file: `ID.mat`.
        poses: (14, 3) x, y and whether the joint is annotated, of each person.
    """
    boxes = np.empty((1, len(poses)), dtype=object)
    joints = np.empty((1, len(poses)), dtype=object)
    for n, pose in enumerate(poses):
        seen = pose[pose[:, 2] > 0, :2] if (pose[:, 2] > 0).any() else np.zeros((1, 2))
        boxes[0, n] = np.concatenate([seen.min(0), seen.max(0)])[None]
        joints[0, n] = pose
    scipy.io.savemat(str(file), {"boxes": boxes, "joints": joints}, do_compression=True)


def _person_masks(frame: Frame) -> dict[int, BoolArray]:
    """Pixels of everybody who is seen, without what they carry, by id."""
    body = frame.parts(PASCAL_PERSON_PART_LR) > 0
    masks = {n: body & (frame.persons == n) for n in range(1, len(frame.keypoints) + 1)}
    return {n: mask for n, mask in masks.items() if mask.any()}


def _parts(frame: Frame, person: BoolArray) -> list[dict[str, Any]]:
    """A person's parts that are seen."""
    parts = []
    for anatomy, name in _NAMES.items():
        for side in ("l", "r") if "{}" in name else ("",):
            mask = person & (frame.anatomy == anatomy)
            if side:
                mask &= (frame.side == Side.RIGHT) == (side == "r")
            parts.append({"part_name": name.format(side), "mask": mask})
    parts.append({"part_name": "hair", "mask": parts[0]["mask"] & (frame.garment == Garment.HAIR)})
    return [{**part, "mask": _stored(part["mask"])} for part in parts if part["mask"].any()]


def _pose(keypoints: Float32Array) -> Float64Array:
    """Fourteen joints (14, 3) from COCO's (17, 3); those outside the picture are not annotated."""
    assert keypoints.shape == (COCO, 3)
    nose, left_eye, right_eye = keypoints[:3].astype(np.float64)
    eyes = (left_eye + right_eye) / 2
    forehead = eyes + 2 * (eyes - nose)  # as far above the eyes as two noses are below
    left, right = (keypoints[JOINTS.index(f"{side}_shoulder")].astype(np.float64) for side in ("left", "right"))
    pose = np.stack([forehead, (left + right) / 2, *keypoints[_LIMBS]])
    known = [keypoints[:3, 2].min() > 0, min(left[2], right[2]) > 0, *(keypoints[_LIMBS, 2] > 0)]
    pose[:, 2] = known
    return np.where(pose[:, 2:] > 0, pose, 0.0)


def _structs(rows: Sequence[Mapping[str, Any]]) -> AnyArray:
    """A MATLAB struct array of one row; an empty matrix for none."""
    if not rows:
        return np.zeros((0, 0))
    structs = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for n, row in enumerate(rows):
        for name, value in row.items():
            structs[0, n][name] = value
    return structs


def _stored(mask: BoolArray) -> UInt8Array:
    return np.asarray(mask, dtype=np.uint8)
