"""OCHuman (Zhang et al., Pose2Seg, CVPR 2019): heavily occluded persons with masks and seventeen keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_modules.datasets.coco_persons import MaskedImages, find_split
from data_modules.formats.coco_json import CocoIndex
from data_modules.formats.layout import check_folders

#: Published numbers of the pictures with keypoints and masks.
PUBLISHED = {
    "in all": {"pictures": 4731, "persons": 8110},
    "val": {"pictures": 2500},
    "test": {"pictures": 2231},
}

#: Folder of the pictures, and the name of a json but for split and range.
IMAGES, JSON = "images", "ochuman_coco_format_{}"

_FILES = (JSON.format("{}_range_0.00_1.00"), JSON, "{}")


class OCHuman(MaskedImages):
    """Occluded persons: foreground, person ids and keypoints. A mask-and-keypoint pool, made for evaluation.

    Layout: `images/`, and `ochuman_coco_format_SPLIT_range_0.00_1.00.json` at the root or in `annotations/`, with
    the splits val and test; "test_range_0.75_1.00" names a subset. Masks overlap; in the map of ids the smaller
    lies on top. Not every person in a picture is annotated.

    Args:
        root: folder of the layout.
        split: "val", "test", the rest of a json's name, or file names of pictures that one of the jsons lists.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None is evaluation, which also takes pictures without persons.
        annotations: whether samples have the native ground truth (evaluation).
    """

    def open(self, split: str | Sequence[str]) -> tuple[CocoIndex, Path, list[str]]:
        """Open the json of the split, at the root or in `annotations/`."""
        content = "images/ and ochuman_coco_format_val_range_0.00_1.00.json"
        check_folders(self.root, "OCHuman", (IMAGES,), content)
        below = self.root / "annotations"
        folder = below if below.is_dir() else self.root
        index, ids = find_split(folder, _FILES, split, ("val", "test"), empty=self.seed is None)
        return index, self.root / IMAGES, ids
