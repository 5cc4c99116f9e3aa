"""MPII Human Pose (Andriluka et al., CVPR 2014): pictures of people with sixteen joints each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_modules.datasets.images import LabelledImages
from data_modules.formats.layout import check_pictures, given_ids, no_such_split, not_held
from data_modules.formats.mat import read_mat
from data_modules.formats.notes import Arrays, noted, packed, unpacked
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import Float32Array, UInt8Array
from partwise.errors import InputError
from partwise.io.boxes import fault_of_points
from partwise.io.images import read_image
from partwise.labels import FOREGROUND
from partwise.ops.mpii import pascal_heads

#: Published number; those of the test set, whose joints are secret, are among them.
PUBLISHED = {"in all": {"pictures": 24987}}

#: Rows of the keypoints; the ids of the release.
JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
    "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
    "left_wrist",
)  # fmt: skip

MAT = "mpii_human_pose_v1_u12_1.mat"

#: Where the release may lie.
_MAT_FOLDERS = (".", "annot", "annotations", "mpii_human_pose_v1_u12_2")

#: Folder of the pictures, and split -> its file in the list form.
IMAGES = "images"
LISTS = {"train": "annot/train.json", "val": "annot/valid.json"}

SPLITS = ("train", "val", "all")

HEADS = ("official", "pascal_person_part")


class MPII(LabelledImages):
    """Pictures with the joints of their people, rows as `JOINTS`. A keypoint-only pool.

    Layout: `images/` and either `annot/{train,valid}.json`, lists of one person each (image, joints, joints_vis,
    center, scale), or `mpii_human_pose_v1_u12_1.mat` at the root, in `annot/`, `annotations/` or
    `mpii_human_pose_v1_u12_2/`. Both count pixels from 1; the keypoints here count from 0. Of the release the
    pictures of its training set that have joints are read; every tenth of them, in the order of the file, is
    validation. The people of one picture are one sample.

    Visibility is 2, or 1 where the release says that the joint is hidden; the list form does not say.

    Args:
        root: folder of the layout.
        split: "train", "val", "all", or file names of pictures.
        transform: makes the training or evaluation sample.
        single: whether to leave out pictures of several people.
        full_body: whether to leave out pictures in which somebody lacks one of the sixteen joints: who is not labelled
            would count as background.
        heads: "official", or "pascal_person_part" for necks and heads where that dataset has them (`pascal_heads`).
        seed: of the augmentation; None does none.
        annotations: of no effect: metrics of parsing need parts, and there are none.
    """

    label_set = FOREGROUND  # there are no labels: a flip exchanges joints only

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        single: bool = False,
        full_body: bool = False,
        heads: str = "official",
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        if heads not in HEADS:
            raise InputError(f"data.heads={heads} is unknown; name one of {', '.join(HEADS)}")
        self.single, self.full_body, self.heads = single, full_body, heads
        super().__init__(root, split, transform, seed=seed, annotations=False)

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the pictures, and read the joints of all people."""
        people, file = read_people(self.root, split if isinstance(split, str) else "all")
        if self.single:
            people = {name: found for name, found in people.items() if len(found) == 1}
        if self.full_body:
            people = {name: found for name, found in people.items() if (found[..., 2] > 0).all()}
        self._people = {name: found for name, found in people.items() if len(found)}
        ids = list(self._people) if isinstance(split, str) else given_ids(split)
        body = "full body" if self.full_body else "body"
        if unknown := [name for name in ids if name not in self._people]:
            raise InputError(f"{file} has no {body} in {unknown[0]}; name pictures that it lists")
        if not ids:
            raise InputError(f"{file} has no {body} in split {split}; take another split")
        check_pictures(self.root / IMAGES, ids, file)
        return ids

    def picture(self, index: int) -> UInt8Array:
        """Read the picture (H, W, 3), RGB, at its native size."""
        return read_image(self.root / IMAGES / self.ids[index], upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the joints of a picture's people.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Keypoints (N, 16, 3).
        """
        people = self._people[name]
        if self.heads == "official":
            return Labels(keypoints=people)
        return Labels(keypoints=pascal_heads(torch.from_numpy(people)).numpy())


def read_people(root: Path, split: str) -> tuple[dict[str, Float32Array], Path]:
    """Read the joints of the people of each picture.

    Args:
        root: folder of the layout.
        split: "train", "val" or "all".

    Returns:
        File name -> joints (N, 16, 3), counted from 0; and the file that they are from.

    Raises:
        InputError: no such split, no such layout, or a damaged file.
    """
    if split not in SPLITS:
        raise no_such_split("MPII, whose test set has no public joints,", split, SPLITS, root)
    lists = [root / name for key, name in LISTS.items() if split in (key, "all")]
    if any(file.is_file() for file in lists):
        people: dict[str, Float32Array] = {}
        for file in filter(Path.is_file, lists):
            for name, found in _cached(file, file.stat().st_size, file.stat().st_mtime_ns).items():
                people[name] = np.concatenate([people[name], found]) if name in people else found
        return people, lists[0]
    for folder in _MAT_FOLDERS:
        file = root / folder / MAT
        if file.is_file():
            everybody = _cached(file, file.stat().st_size, file.stat().st_mtime_ns).items()
            chosen = {n: p for i, (n, p) in enumerate(everybody) if split == "all" or (i % 10 == 9) == (split == "val")}
            return chosen, file
    fault = f"neither annot/{lists[0].name} nor {MAT} is there"
    raise not_held(root, "MPII", fault, "the folder with images/ and one of them")


@lru_cache(maxsize=4)  # each stage asks for it
def _cached(file: Path, size: int, changed: int) -> dict[str, Float32Array]:
    # The release takes long to read.
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and are refused
        arrays = noted(
            "mpii", [file], lambda: _stacked(_from_list(file) if file.suffix == ".json" else _from_release(file))
        )
    ends = np.cumsum([0, *arrays["counts"]])
    names = unpacked(arrays["names"])
    people = {name: arrays["joints"][ends[n] : ends[n + 1]] for n, name in enumerate(names)}
    for name, joints in people.items():
        if fault := fault_of_points(joints[..., :2]):
            raise InputError(f"{file}: a joint in {name} {fault}; mend or remove that person")
    return people


def _stacked(people: dict[str, Float32Array]) -> Arrays:
    return {
        "names": packed(list(people)),
        "counts": np.array([len(found) for found in people.values()], np.int64),
        "joints": np.concatenate([np.zeros((0, 16, 3), np.float32), *people.values()]),
    }


def _from_list(file: Path) -> dict[str, Float32Array]:
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{file} is damaged or no json ({error}); copy or download it again") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{file} lists nobody; it should be a list of people with image, joints and joints_vis")
    people: dict[str, list[Float32Array]] = {}
    for number, row in enumerate(rows):
        try:
            places, seen = np.array(row["joints"], np.float32), np.array(row["joints_vis"], np.float32)
            joints = np.concatenate([places.reshape(16, 2) - 1, 2 * (seen.reshape(16, 1) > 0)], 1, dtype=np.float32)
            if not isinstance(row["image"], str):
                raise TypeError(f"image is {row['image']!r}")
            people.setdefault(row["image"], []).append(_zeroed(joints))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise InputError(
                f"{file}, entry {number}: a person has image, 16 joints and joints_vis ({error!r}); mend or remove it"
            ) from error
    return {name: np.stack(found) for name, found in people.items()}


def _from_release(file: Path) -> dict[str, Float32Array]:
    release = read_mat(file, "RELEASE")
    try:
        pictures = np.atleast_1d(release.annolist)
        training = np.atleast_1d(release.img_train)
        people = {
            str(picture.image.name): _joints_of(picture)
            for picture, used in zip(pictures, training, strict=True)
            if used
        }
    except (AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{file} is not laid out as MPII's release ({error}); download it again") from error
    return {name: found for name, found in people.items() if len(found)}


def _joints_of(picture: Any) -> Float32Array:
    """Joints (N, 16, 3) of those people of a picture that have any."""
    found = []
    for person in np.atleast_1d(picture.annorect):
        points = getattr(getattr(person, "annopoints", None), "point", None)
        if points is None:
            continue  # only the head's box is known
        joints = np.zeros((16, 3), np.float32)
        for point in np.atleast_1d(points):
            joints[int(point.id)] = point.x - 1, point.y - 1, 1 if _hidden(point) else 2
        found.append(joints)
    return np.stack([np.zeros((16, 3), np.float32), *found])[1:]  # also of nobody


def _hidden(point: Any) -> bool:
    """Whether a point is said to be hidden: the release leaves it empty for neck and head and stores some as text."""
    says: Any = getattr(point, "is_visible", ())
    return np.size(says) == 1 and str(says) != "" and not int(says)


def _zeroed(joints: Float32Array) -> Float32Array:
    """Joints (16, 3) with zeros for those that are not annotated."""
    return np.where(joints[:, 2:] > 0, joints, np.float32(0))
