"""Horses and cows with keypoints and, for some, masks of their parts, for pose-guided transfer to animals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_modules.datasets.coco_persons import MaskedImages
from data_modules.formats.coco_json import CocoIndex, read_coco
from data_modules.formats.label_maps import read_parts
from data_modules.formats.layout import check_folders, given_ids
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.labels import HORSE_COW, HORSE_COW_LEGS, LEGS_TO_HORSE_COW

#: Published numbers of Horse-Cow as pose transfer uses it: training and test pictures with parts, here train and val,
#: and those with keypoints only.
PUBLISHED = {"train": {"pictures": 294}, "val": {"pictures": 227}, "poses": {"pictures": 317}}

#: AP-10K's keypoints, which the stand-in has; other sets are read with their own.
KEYPOINTS = (
    "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw",
    "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw", "right_hip",
    "right_knee", "right_back_paw",
)  # fmt: skip

#: Folders of the pictures, of the jsons and of the maps of parts.
IMAGES, JSONS, PARTS = "images", "annotations", "parts"

#: How the names of left and right keypoints begin.
_SIDES = (("left", "right"), ("l_", "r_"))


class HorseCow(MaskedImages):
    """Four-legged animals: keypoints, and with `masks` also parts and ids.

    Without masks it is a keypoint-only pool, with masks a mask-and-keypoint pool. The paper's collection was not
    released, so the layout is this project's own: `images/`, `annotations/SPLIT.json`, COCO-style with keypoints and
    perhaps segmentations of whole animals, and `parts/NAME.png`, index maps of `HORSE_COW_LEGS`. AP-10K,
    Animal-Pose and Horse-10 as COCO-style json are read too, as keypoint-only pools. The keypoints are the json's.

    Args:
        root: folder of the layout.
        split: name of a json, or file names of pictures that `annotations/all.json` lists.
        transform: makes the training or evaluation sample.
        masks: whether to read parts and segmentations too.
        categories: animals that count; None takes all of the json.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation), if there are masks.
    """

    label_set = HORSE_COW

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        masks: bool = False,
        categories: Sequence[str] | None = None,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.masks, self.categories = masks, categories
        super().__init__(root, split, transform, seed=seed, annotations=annotations and masks)

    def open(self, split: str | Sequence[str]) -> tuple[CocoIndex, Path, list[str]]:
        """Open the json of the split; `annotations/all.json` for pictures given by name."""
        check_folders(self.root, "animals", (IMAGES, JSONS), "images/ and annotations/")
        if self.masks:
            check_folders(self.root, "animals", (PARTS,), "images/, annotations/ and parts/, or set data.masks=false")
        index = read_animals(self.root, split, self.categories)
        return index, self.root / IMAGES, index.occupied() if isinstance(split, str) else given_ids(split)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the keypoints of animals 1..N and, with masks, the parts and ids.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Keypoints, and perhaps parts and persons.
        """
        labels = super().labels(name, size)
        if not self.masks:
            return Labels(keypoints=labels["keypoints"])
        parts = self.merge(read_parts((self.root / PARTS / name).with_suffix(".png"), HORSE_COW_LEGS, size))
        return Labels(parts=parts, persons=labels["persons"].astype(np.int32), keypoints=labels["keypoints"])

    def merge(self, parts: UInt8Array) -> UInt8Array:
        """Merge the classes (H, W) of the maps into those of the label set."""
        return LEGS_TO_HORSE_COW[parts]


class HorseCowLegs(HorseCow):
    """Horses and cows with the four legs apart."""

    label_set = HORSE_COW_LEGS

    def merge(self, parts: UInt8Array) -> UInt8Array:
        """Return the classes (H, W) as they are."""
        return parts


def read_animals(root: Path, split: str | Sequence[str], categories: Sequence[str] | None) -> CocoIndex:
    """Read the json of a split, or `annotations/all.json` for pictures given by name.

    Args:
        root: folder of the layout.
        split: name of a json, or file names of pictures.
        categories: animals that count; None takes all.

    Returns:
        The json.

    Raises:
        InputError: the json is missing or damaged.
    """
    file = root / JSONS / f"{split if isinstance(split, str) else 'all'}.json"
    if not file.is_file():
        found = ", ".join(sorted(p.stem for p in file.parent.glob("*.json"))) or "none"
        raise InputError(f"{file} is missing; the splits here are: {found}")
    return read_coco(file, categories, len(KEYPOINTS))


def keypoint_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Find the (left, right) rows of keypoints that a flip exchanges, by their names.

    Names are told apart by left... and right..., or by L_... and R_.... Horse-10's near and off are as seen from the
    camera, and a flip leaves them where they are.
    """
    lower = [name.lower() for name in names]
    pairs = []
    for left, right in _SIDES:
        for row, name in enumerate(lower):
            other = right + name.removeprefix(left)
            if name.startswith(left) and other in lower:
                pairs.append((row, lower.index(other)))
    return pairs
