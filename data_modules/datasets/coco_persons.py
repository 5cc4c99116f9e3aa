"""COCOPersons: the persons of COCO 2017 with masks and seventeen keypoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data_modules.datasets.images import LabelledImages
from data_modules.formats.coco_json import CocoIndex, Thing, read_coco
from data_modules.formats.layout import check_pictures, given_ids
from data_modules.loading.transforms import Labels
from partwise.arrays import BoolArray, UInt8Array
from partwise.batches import Annotation, InstanceMasks
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.labels import FOREGROUND, IGNORE

#: Folder of a split's pictures.
PICTURES = "{}2017"

#: Folder of the jsons and where a split's may be, best first: the lists of Pose2Seg, COCO's own, or a file's own name.
JSONS = "annotations"
FILES = ("person_keypoints_{}2017_pose2seg", "person_keypoints_{}2017", "{}")


class MaskedImages(LabelledImages):
    """Pictures with the masks and keypoints of a COCO-style json.

    Args:
        root: folder of the layout.
        split: name of a split, or file names of pictures.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        index: the json.
        folder: of the pictures.
    """

    index: CocoIndex
    folder: Path
    label_set = FOREGROUND

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the pictures, their folder and the json that lists them."""
        self.index, self.folder, ids = self.open(split)
        if unknown := [name for name in ids if name not in self.index]:
            raise InputError(f"{unknown[0]} is not listed in {self.index.file}; name pictures by their file_name there")
        if not ids:
            raise InputError(f"{self.index.file} lists no picture with an annotated object; take a list that does")
        check_pictures(self.folder, ids, self.index.file)
        return ids

    @abstractmethod
    def open(self, split: str | Sequence[str]) -> tuple[CocoIndex, Path, list[str]]:
        """Open the json of a split.

        Args:
            split: name of a split, or file names of pictures.

        Returns:
            The json, the folder of its pictures, and the file names of those that are wanted.
        """

    def picture(self, index: int) -> UInt8Array:
        """Read the picture (H, W, 3), RGB, at its native size."""
        return read_image(self.folder / self.ids[index], upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the objects of a picture.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Foreground, person ids 1..N and the keypoints of persons 1..N.
        """
        return to_labels(self.index.things(name, size), size, self.index.num_keypoints)

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """Return the native ground truth: foreground, and persons with whole masks, which overlap, and keypoints.

        Args:
            name: id of the picture.
            labels: output of `labels`.

        Returns:
            A person without a mask has an empty one.
        """
        parts = labels["parts"]
        size = (parts.shape[0], parts.shape[1])
        empty = np.zeros(size, bool)
        people = [empty if t.mask is None else t.mask for t in self.index.things(name, size) if not t.crowd]
        return Annotation(
            parts=torch.from_numpy(parts),
            persons=InstanceMasks(
                masks=torch.from_numpy(np.stack([*people, empty])[:-1]),
                classes=torch.ones(len(people), dtype=torch.int64),
                keypoints=torch.from_numpy(labels["keypoints"]),
            ),
        )


class COCOPersons(MaskedImages):
    """Persons of COCO: foreground, person ids and keypoints. A mask-and-keypoint pool.

    Layout: `train2017/`, `val2017/` and in `annotations/` `person_keypoints_SPLIT2017_pose2seg.json` (Pose2Seg's
    lists of persons with keypoints and masks), else COCO's own `person_keypoints_SPLIT2017.json`. A split may also
    be the name of another json there, such as "instances_val2017". Regions of crowds are ignored. Masks overlap;
    in the map of ids the smaller lies on top.

    Args:
        root: folder of the layout.
        split: "train", "val", the name of a json, or file names of pictures that one of the jsons lists.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None is evaluation, which also takes pictures without persons.
        annotations: whether samples have the native ground truth (evaluation).
    """

    def open(self, split: str | Sequence[str]) -> tuple[CocoIndex, Path, list[str]]:
        """Open the first json of `annotations/` that fits the split."""
        index, ids = find_split(self.root / JSONS, FILES, split, ("train", "val"), empty=self.seed is None)
        return index, _picture_folder(self.root, split, ids), ids


def find_split(
    folder: Path, files: Sequence[str], split: str | Sequence[str], named: Sequence[str], *, empty: bool
) -> tuple[CocoIndex, list[str]]:
    """Find the json of a split and the pictures of the split.

    Args:
        folder: of the jsons.
        files: names of a split's json without suffix, best first, with {} for the split.
        split: a name, or file names of pictures.
        named: splits whose jsons are searched for pictures given by name.
        empty: whether to take pictures without persons too.

    Returns:
        The json and the file names of the pictures.

    Raises:
        InputError: there is no such json, or none that lists all the pictures.
    """
    if isinstance(split, str):
        index = read_coco(_file_of(folder, files, split), ("person",))
        return index, index.names if empty else index.occupied()
    wanted = given_ids(split)
    for name in named:
        if any((folder / f"{file.format(name)}.json").is_file() for file in files):
            index = read_coco(_file_of(folder, files, name), ("person",))
            if all(picture in index for picture in wanted):
                return index, wanted
    raise InputError(f"no json in {folder} lists all of {', '.join(wanted[:3])} ...; name pictures of one list")


def _file_of(folder: Path, files: Sequence[str], split: str) -> Path:
    for name in files:
        file = folder / f"{name.format(split)}.json"
        if file.is_file():
            return file
    found = ", ".join(sorted(p.name for p in folder.glob("*.json"))) or "no json"
    raise InputError(f"{folder / files[0].format(split)}.json is missing; {folder} holds {found}")


def _picture_folder(root: Path, split: str | Sequence[str], ids: Sequence[str]) -> Path:
    """The first folder that has the first picture."""
    own = [PICTURES.format(split)] if isinstance(split, str) else []
    folders = [root / name for name in (*own, *map(PICTURES.format, ("train", "val")), "images")]
    return next((f for f in folders if ids and (f / ids[0]).is_file()), folders[0])


def to_labels(things: Sequence[Thing], size: tuple[int, int], num_keypoints: int) -> Labels:
    """Paint the objects of a picture into maps.

    Object n of those that are no crowd has id n and row n - 1 of the keypoints. Where masks overlap the smaller one
    is on top. Crowds are ignored, and so is the box of an object without a mask, where no other object is.

    Args:
        things: the objects.
        size: (H, W) of the picture.
        num_keypoints: K, of each object.

    Returns:
        Foreground (H, W) with 255 for crowds, ids (H, W) and keypoints (N, K, 3).
    """
    parts, persons = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    alone = [thing for thing in things if not thing.crowd]
    for thing in things:
        if thing.crowd or thing.mask is None:
            parts[_region(thing)] = IGNORE
    drawn = [(thing.mask, n) for n, thing in enumerate(alone, 1) if thing.mask is not None]
    for mask, n in sorted(drawn, key=lambda at: -int(at[0].sum())):
        parts[mask], persons[mask] = 1, n
    keypoints = np.stack([t.keypoints for t in alone]) if alone else np.zeros((0, num_keypoints, 3), np.float32)
    return Labels(parts=parts, persons=persons, keypoints=keypoints)


def _region(thing: Thing) -> tuple[slice, slice] | BoolArray:
    """The pixels of an object: its mask or else its box."""
    if thing.mask is not None:
        return thing.mask
    left, top, width, height = thing.box
    rows = slice(max(0, int(top)), max(0, int(np.ceil(top + height))))
    return rows, slice(max(0, int(left)), max(0, int(np.ceil(left + width))))
