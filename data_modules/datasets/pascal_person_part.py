"""Pascal-Person-Part (Chen et al., CVPR 2014; Xia et al., CVPR 2017): people of VOC 2010, their parts and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from pytorch_lightning.utilities import rank_zero_warn

from data_modules.datasets.images import LabelledImages
from data_modules.formats.class_order import check_order, order_table
from data_modules.formats.label_maps import dense, read_parts
from data_modules.formats.layout import given_ids, not_held, read_split
from data_modules.formats.notes import noted
from data_modules.formats.pascal_part import match_poses, paint, read_people, read_poses, shows_people
from data_modules.loading import pool
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import BoolArray, UInt8Array
from partwise.batches import Annotation, InstanceMap
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.labels import (
    IGNORE,
    LR_TO_PASCAL_PERSON_PART,
    PASCAL_PERSON_PART,
    PASCAL_PERSON_PART_LR,
    remap_table,
)

#: Published numbers.
PUBLISHED = {"train": {"pictures": 1716}, "val": {"pictures": 1817}}

#: Folders of the pictures, of PASCAL-Part, of the maps of seven classes, of their lists, and of the poses.
IMAGES = "JPEGImages"
OBJECTS = "Annotations_Part"
MAPS = "pascal_person_part/pascal_person_part_gt"
LISTS = "pascal_person_part/pascal_person_part_trainval_list"
POSES = "PersonJoints"

#: The seven classes in the left/right form where the side is unknown.
_SIDELESS = remap_table({0: 0, 1: 1, 2: 2})


@dataclass(frozen=True)
class Layout:
    """Folders of Pascal-Person-Part; None for those that are missing.

    Attributes:
        images: `ID.jpg` of PASCAL VOC 2010.
        objects: `ID.mat` of PASCAL-Part.
        maps: `ID.png` with the seven classes, 255 ignored.
        lists: `train_id.txt` and `val_id.txt`.
        joints: `ID.mat` with poses.
    """

    images: Path
    objects: Path | None
    maps: Path | None
    lists: Path | None
    joints: Path | None


class PascalPersonPart(LabelledImages):
    """Pictures with seven classes; with persons where PASCAL-Part exists, and poses where their files exist.

    Layout: `JPEGImages/ID.jpg`, and at least one of `Annotations_Part/ID.mat` (PASCAL-Part) and
    `pascal_person_part/pascal_person_part_gt/ID.png` with `pascal_person_part_trainval_list/SPLIT_id.txt` beside it;
    `PersonJoints/ID.mat` if wanted. With both annotations the PNG decides the part and the .mat the person. Without
    lists the split "all" is every picture in which PASCAL-Part shows persons.

    Args:
        root: folder of the layout.
        split: name of a list, "all" where there are no lists, or the ids themselves ("2008_000652").
        transform: makes the training or evaluation sample.
        class_order: of the PNGs: "official", or "bupt" for the repackaging that permutes the classes.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        needs_objects: whether the classes need PASCAL-Part.
        layout: the folders.
    """

    label_set = PASCAL_PERSON_PART
    needs_objects: ClassVar[bool] = False

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        class_order: str = "official",
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.class_order, self._official = class_order, order_table(class_order)
        super().__init__(root, split, transform, seed=seed, annotations=annotations)

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the ids, and the folders of the layout."""
        self.layout = find_layout(self.root)
        if self.needs_objects and self.layout.objects is None:
            raise InputError(
                f"{self.root} has no Annotations_Part/, which alone tells left from right; "
                "add PASCAL-Part's files or set data.form=seven"
            )
        ids = split_ids(self.layout, split)
        if self.layout.maps is not None:
            check_order([self.layout.maps / f"{name}.png" for name in ids], self.class_order)
        return ids

    def picture(self, index: int) -> UInt8Array:
        """Read the picture (H, W, 3), RGB, at its native size."""
        return read_image(self.layout.images / f"{self.ids[index]}.jpg", upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read parts; persons and keypoints (N, 16, 3) in MPII's order where their files exist.

        With both, row n - 1 of the keypoints is person n; zeros stand for a person without a pose, and poses without a
        person come last.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts, and perhaps persons and keypoints.
        """
        sided, found = None, Labels()
        if self.layout.objects is not None:
            sided, found["persons"] = paint(read_people(self.layout.objects / f"{name}.mat", size), size)
        found["parts"] = self.merge(sided, self._map(name, size))
        if self.layout.joints is not None:
            poses = read_poses(self.layout.joints / f"{name}.mat")
            found["keypoints"] = match_poses(poses, found["persons"]) if "persons" in found else poses
        return found

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """Return the native ground truth: parts and, where they are known, persons and part instances.

        Args:
            name: id of the picture.
            labels: output of `labels`.

        Returns:
            Maps in the integers that they were read in: small to hand from process to process.
        """
        truth = super().annotation(name, labels)
        if "persons" in labels:
            truth["part_instances"] = part_instances(labels)
        return truth

    def merge(self, sided: UInt8Array | None, official: UInt8Array | None) -> UInt8Array:
        """Merge the two annotations of a picture.

        Args:
            sided: (H, W) PASCAL-Part's ten parts; None if its files are missing.
            official: (H, W) the PNG's seven classes; None if the PNGs are missing.

        Returns:
            Class ids (H, W).
        """
        if official is not None:
            return official
        assert sided is not None
        return LR_TO_PASCAL_PERSON_PART[sided]

    def _map(self, name: str, size: tuple[int, int]) -> UInt8Array | None:
        """The PNG's seven classes (H, W) by their official ids."""
        if self.layout.maps is None:
            return None
        return self._official[read_parts(self.layout.maps / f"{name}.png", PASCAL_PERSON_PART, size)]


class PascalPersonPartLR(PascalPersonPart):
    """Pascal-Person-Part with left and right limbs apart: ten parts, which only PASCAL-Part's .mat files have.

    With the PNGs beside them, a limb on which the two annotations disagree is 255.

    Args:
        root: folder of the layout.
        split: name of a list, "all" where there are no lists, or the ids themselves ("2008_000652").
        transform: makes the training or evaluation sample.
        class_order: of the PNGs: "official", or "bupt" for the repackaging that permutes the classes.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).
    """

    label_set = PASCAL_PERSON_PART_LR
    needs_objects = True

    def merge(self, sided: UInt8Array | None, official: UInt8Array | None) -> UInt8Array:
        """Merge the two annotations of a picture.

        Args:
            sided: (H, W) PASCAL-Part's ten parts.
            official: (H, W) the PNG's seven classes; None if the PNGs are missing.

        Returns:
            Ids of the ten parts (H, W); 255 where the two disagree.
        """
        assert sided is not None
        if official is None:
            return sided
        return np.where(LR_TO_PASCAL_PERSON_PART[sided] == official, sided, _SIDELESS[official])


def part_instances(labels: Labels) -> InstanceMap:
    """Number the part instances of a picture: one for each class of each person.

    A labelled pixel of no person is 255 here, in no instance.
    """
    parts, persons = labels["parts"], labels["persons"]
    owned = np.where((parts > 0) & (persons == 0), IGNORE, parts)
    codes = np.where((owned > 0) & (owned != IGNORE), persons.astype(np.int64) * 256 + owned, 0)
    return dense(codes, {code: code % 256 for code in np.unique(codes).tolist() if code})


def find_layout(root: Path) -> Layout:
    """Find the folders of Pascal-Person-Part in `root`; raise InputError if they do not suffice."""
    images = _first(root, IMAGES, f"VOC2010/{IMAGES}", f"VOCdevkit/VOC2010/{IMAGES}")
    objects = _first(root, OBJECTS, f"trainval/{OBJECTS}")
    maps = _first(root, MAPS, Path(MAPS).name)
    lists = _first(root, LISTS, Path(LISTS).name)
    if images is None or (objects is None and maps is None):
        what = "JPEGImages/ is" if images is None else "Annotations_Part/ and pascal_person_part_gt/ are"
        place = "the folder with VOC 2010's JPEGImages/ and PASCAL-Part's Annotations_Part/ or pascal_person_part/"
        raise not_held(root, "Pascal-Person-Part", f"{what} missing", place)
    return Layout(images, objects, maps, lists, _first(root, POSES))


def split_ids(layout: Layout, split: str | Sequence[str]) -> list[str]:
    """Find the ids of a split.

    Without lists, pictures that show no person are left out, with a warning that counts them.

    Args:
        layout: the folders.
        split: name of a list, "all", or the ids themselves.

    Returns:
        Ids in order.

    Raises:
        InputError: there is no such split, an id is a number, or no picture is left.
    """
    named = split if isinstance(split, str) else None
    if layout.lists is not None:
        return given_ids(split) if named is None else read_split("Pascal-Person-Part", layout.lists, named)
    if named not in (None, "all"):
        raise InputError(
            f"there is no list of the split {named!r} beside {layout.images}, as pascal_person_part_trainval_list/ is "
            "missing; add it, or list ids in data.splits"
        )
    return _showing_people(layout, _annotated(layout) if named else given_ids(split))


def _annotated(layout: Layout) -> list[str]:
    """Ids of all pictures that have an annotation."""
    folder, suffix = (layout.maps, ".png") if layout.objects is None else (layout.objects, ".mat")
    assert folder is not None
    return sorted(file.stem for file in folder.glob(f"*{suffix}"))


def _showing_people(layout: Layout, ids: list[str]) -> list[str]:
    """The ids whose .mat has a person; without .mat files, all of them."""
    kept = ids if layout.objects is None else _with_people(layout.objects, tuple(ids))
    if not kept:
        raise InputError(f"none of the {len(ids)} pictures asked for in {layout.images} has a person; name others")
    if len(kept) < len(ids):
        rank_zero_warn(f"{len(ids) - len(kept)} of {len(ids)} pictures in {layout.images} show no person: left out")
    return kept


@cache  # every stage asks
def _with_people(objects: Path, ids: tuple[str, ...]) -> list[str]:
    files = [objects / f"{name}.mat" for name in ids]
    shown = noted("pascal_part", files, lambda: {"shown": _look_for_people(files)})["shown"]  # minutes for all of them
    return [name for name, people in zip(ids, shown, strict=True) if people]


def _look_for_people(files: Sequence[Path]) -> BoolArray:
    shown: list[bool] = []
    pool.run(lambda file: shown.append(shows_people(file)), files, "looking for people", workers=1)
    return np.array(shown)


def _first(root: Path, *places: str) -> Path | None:
    return next((root / place for place in places if (root / place).is_dir()), None)
