"""Clothing Co-Parsing (Yang, Luo, Lin; CVPR 2014): street photos, 59 classes of pixels merged into 14."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_modules.datasets.images import LabelledImages
from data_modules.formats.layout import check_folders, given_ids, no_such_split
from data_modules.formats.mat import read_mat
from data_modules.loading.transforms import Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import check_size, read_image
from partwise.io.listing import list_files
from partwise.labels import CCP as LABELS
from partwise.labels import IGNORE, remap_table

#: Published numbers, and what `split_ids` makes of them.
PUBLISHED = {
    "in all": {"photos": 2098, "pixel-labelled photos": 1004},
    "train": {"pixel-labelled photos": 804},
    "val": {"pixel-labelled photos": 200},
}

#: The dataset's own classes behind each merged one.
SOURCES = {
    "background": ("null",),
    "hair": ("hair",),
    "hat": ("hat",),
    "glasses": ("glasses", "sunglasses"),
    "upper-clothes": ("blouse", "bodysuit", "bra", "cardigan", "hoodie", "jumper", "shirt", "sweater", "sweatshirt",
                      "t-shirt", "top", "vest"),
    "coat": ("blazer", "cape", "coat", "jacket", "suit"),
    "dress": ("dress", "intimate", "romper", "swimwear"),
    "pants": ("jeans", "leggings", "panties", "pants", "shorts"),
    "skirt": ("skirt",),
    "legwear": ("socks", "stockings", "tights"),
    "shoes": ("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges"),
    "bag": ("bag", "purse", "wallet"),
    "scarf": ("scarf", "tie"),
    "skin": ("skin",),
}  # fmt: skip

#: Too small or too rarely labelled to be scored.
IGNORED = ("accessories", "belt", "bracelet", "earrings", "gloves", "necklace", "ring", "watch")

SPLITS = ("train", "val", "all", "fit", "held_out")

#: Folders of the photos and of their labels.
PHOTOS, MATS = "photos", "annotations/pixel-level"


class CCP(LabelledImages):
    """Photos with pixel labels.

    Layout: `photos/NNNN.jpg`, `annotations/pixel-level/NNNN.mat` (`groundtruth`, (H, W) uint8) and `label_list.mat`
    (the 59 names, 0 = null). Sorted by number, every fifth labelled photo (positions 4, 9, 14, ...) is validation,
    the others are training. Settings are chosen within training: every tenth of its photos is "held_out", the others
    "fit".

    Args:
        root: folder of the layout.
        split: "train", "val", "all", "fit", "held_out", or the ids themselves ("0001").
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).
    """

    label_set = LABELS

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the ids, and read the merging table of the classes."""
        ids = split_ids(self.root, split) if isinstance(split, str) else given_ids(split)
        self._merged = merging_table(self.root / "label_list.mat")
        return ids

    def picture(self, index: int) -> UInt8Array:
        """Read the photo (H, W, 3), RGB, at its native size."""
        return read_image(self.root / PHOTOS / f"{self.ids[index]}.jpg", upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the 14 merged classes; persons are not numbered.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts.
        """
        return Labels(parts=read_merged(label_file(self.root, name), size, self._merged))


def label_file(root: Path, name: str) -> Path:
    """Return the path of a photo's labels.

    Args:
        root: folder of the layout.
        name: id of the photo.

    Returns:
        The path, whether or not the file exists.
    """
    return root / MATS / f"{name}.mat"


def split_ids(root: Path, split: str) -> list[str]:
    """Find the labelled photos of a split.

    Args:
        root: folder of the layout.
        split: one of `SPLITS`; see `CCP`.

    Returns:
        Ids by number.

    Raises:
        InputError: no such split, no such layout, no labels, or labels without their photo.
    """
    if split not in SPLITS:
        raise no_such_split("Clothing Co-Parsing", split, SPLITS, root)
    check_folders(root, "Clothing Co-Parsing", (PHOTOS, MATS), "photos/, annotations/pixel-level/ and label_list.mat")
    labelled = [file.stem for file in list_files(root / MATS, [".mat"], deep=False)]
    if odd := sorted(name for name in labelled if not name.isdecimal()):
        raise InputError(f"{label_file(root, odd[0])} is not named by its photo's number; rename or remove it")
    photos = {file.stem for file in list_files(root / PHOTOS, [".jpg"], deep=False)}
    if alone := sorted(set(labelled) - photos):
        raise InputError(f"photos/{alone[0]}.jpg is missing from {root}, which holds its labels; copy it there")
    ids = sorted(labelled, key=int)
    chosen = _chosen(ids, split)
    if not chosen:
        least = 12 if split == "held_out" else 5
        raise InputError(f"{root} has {len(ids)} labelled photos, none of them in split {split}; it needs {least}")
    return chosen


def _chosen(ids: list[str], split: str) -> list[str]:
    if split == "all":
        return ids
    training = [name for i, name in enumerate(ids) if i % 5 != 4]
    if split == "train":
        return training
    if split == "val":
        return ids[4::5]
    return training[9::10] if split == "held_out" else [name for i, name in enumerate(training) if i % 10 != 9]


def read_merged(file: Path, size: tuple[int, int], merged: UInt8Array) -> UInt8Array:
    """Read the merged classes of a photo.

    Args:
        file: the .mat of the photo's labels.
        size: (H, W) of the photo.
        merged: output of `merging_table`.

    Returns:
        Ids of the merged classes (H, W).

    Raises:
        InputError: the file is missing, damaged, of another size, or holds an id that is no class.
    """
    fine = np.atleast_2d(read_mat(file, "groundtruth"))
    check_size(fine, size, file)
    if fine.dtype.kind not in "iu" or fine.min() < 0:
        raise InputError(f"{file} holds other than ids of classes; copy it again")
    if fine.max() >= len(merged):
        raise InputError(
            f"label {fine.max()} in {file} is not one of the {len(merged)} of label_list.mat; "
            "take both from the same copy of the dataset"
        )
    parts: UInt8Array = merged[fine]
    return parts


def merging_table(label_list: Path) -> UInt8Array:
    """Return the (59,) table from the ids, which the file `label_list` names, to the 14 merged classes and 255."""
    merged = {source: LABELS.id_of(target) for target, sources in SOURCES.items() for source in sources}
    merged |= dict.fromkeys(IGNORED, IGNORE)
    names = [str(name) for name in np.atleast_1d(read_mat(label_list, "label_list"))]
    if unknown := [name for name in names if name not in merged]:
        raise InputError(f"{label_list} names the class {unknown[0][:80]!r}, which Clothing Co-Parsing does not have")
    return remap_table({i: merged[name] for i, name in enumerate(names)})[: len(names)]
