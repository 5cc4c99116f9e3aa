"""CIHP, Crowd Instance-level Human Parsing (Gong et al., ECCV 2018): several people a picture, 20 classes."""

from __future__ import annotations

from pathlib import Path

from data_modules.datasets.folders import FolderedImages, SplitFolder
from data_modules.formats.label_maps import (
    CATEGORY_IDS,
    HUMAN_IDS,
    INSTANCE_IDS,
    read_part_instances,
    read_persons,
)
from data_modules.formats.layout import find_folder, not_held
from data_modules.loading.transforms import Labels
from partwise.batches import Annotation
from partwise.labels import CIHP as LABELS

#: Published numbers; the labels of the 5,000 test pictures are kept back.
PUBLISHED = {"train": {"pictures": 28280}, "val": {"pictures": 5000}}

#: Folder of all splits; split -> its folder below that; the folder of pictures below that.
BASE = "instance-level_human_parsing"
FOLDERS = {"train": "Training", "val": "Validation"}
IMAGES = "Images"


class CIHP(FolderedImages):
    """Pictures with parts and, where their folders exist, persons and part instances.

    Layout: `instance-level_human_parsing/{Training,Validation}/` with `Images/ID.jpg`, `Category_ids/ID.png` and
    `SPLIT_id.txt`; `Human_ids/ID.png` and `Instance_ids/ID.{png,txt}`, as VIP has them, may be absent: then there are
    no persons, or no part instances.

    Args:
        root: folder of the layout, or the one above it.
        split: "train", "val", or the ids themselves, of either.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).
    """

    label_set = LABELS
    dataset = "CIHP"

    @staticmethod
    def find_splits(root: Path) -> dict[str, SplitFolder]:
        """Return the splits that exist; raise InputError if there is none."""
        base = find_folder(root, BASE) or root
        folders = {name: base / folder for name, folder in FOLDERS.items()}
        splits = {
            name: SplitFolder(folder / IMAGES, folder / CATEGORY_IDS, folder / f"{name}_id.txt")
            for name, folder in folders.items()
        }
        present = {name: split for name, split in splits.items() if split.images.is_dir() and split.parts.is_dir()}
        if not present:
            fault = "no Training/ or Validation/ with Images/ and Category_ids/ is there"
            raise not_held(root, "CIHP", fault, f"{BASE}/ or the folder above it")
        return present

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read parts and, where they are numbered, persons.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts and perhaps persons.
        """
        found = super().labels(name, size)
        file = self._file(HUMAN_IDS, name)
        if file.parent.is_dir():
            found["persons"] = read_persons(file, size)
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
        file = self._file(INSTANCE_IDS, name)
        if "persons" in labels and file.parent.is_dir():
            truth["part_instances"] = read_part_instances(file, labels["persons"].shape, self.label_set.num_classes)
        return truth

    def _file(self, kind: str, name: str) -> Path:
        return self.folders[name].images.parent / kind / f"{name}.png"
