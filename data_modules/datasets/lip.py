"""LIP, Look into Person (Gong et al., CVPR 2017): crops of single people, 20 classes."""

from __future__ import annotations

from pathlib import Path

from data_modules.datasets.folders import FolderedImages, SplitFolder
from data_modules.formats.layout import find_folder, not_held
from partwise.io.listing import hidden
from partwise.labels import LIP as LABELS

#: Published numbers; the labels of the 10,000 test pictures are kept back.
PUBLISHED = {"train": {"pictures": 30462}, "val": {"pictures": 10000}}

SPLITS = ("train", "val")

#: Folders of the pictures and their lists, and of the label maps.
IMAGES, PARTS = "TrainVal_images", "TrainVal_parsing_annotations"

#: Folders of a split below those.
PICTURES, MAPS = "{}_images", "{}_segmentations"


class LIP(FolderedImages):
    """Crops of people with parts; persons are not numbered.

    Layout: `TrainVal_images/SPLIT_images/ID.jpg`, `TrainVal_parsing_annotations/SPLIT_segmentations/ID.png` and
    `TrainVal_images/SPLIT_id.txt` for SPLIT train and val. Both folders may repeat their name inside, as the
    archives unpack.

    Args:
        root: folder of the layout, or the one above it.
        split: "train", "val", or the ids themselves, of either.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).
    """

    label_set = LABELS
    dataset = "LIP"

    @staticmethod
    def find_splits(root: Path) -> dict[str, SplitFolder]:
        """Return the splits that exist; raise InputError if a folder is missing."""
        images, parts = find_folder(root, IMAGES), find_folder(root, PARTS)
        if images is None or parts is None:
            missing = IMAGES if images is None else PARTS
            raise not_held(root, "LIP", f"{missing}/ is missing", f"the folder with {IMAGES}/ and {PARTS}/")
        lists = images if any(not hidden(p.name) for p in images.glob("*_id.txt")) else images.parent
        splits = {
            name: SplitFolder(images / PICTURES.format(name), parts / MAPS.format(name), lists / f"{name}_id.txt")
            for name in SPLITS
        }
        return {name: split for name, split in splits.items() if split.images.is_dir() and split.parts.is_dir()}
