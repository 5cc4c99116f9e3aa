"""Horses and cows: pose transfer beyond people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.horse_cow import PUBLISHED, HorseCow, HorseCowLegs, keypoint_pairs
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.horse_cow import HorseCowWriter
from partwise.errors import InputError

FORMS = {"five": HorseCow, "legs": HorseCowLegs}


class HorseCowDataModule(StillsDataModule):
    """Pictures and keypoints; with `masks` also parts, animal ids and native ground truth.

    With masks it is pose transfer's mask-and-keypoint pool of animals, without its keypoint-only pool.

    Args:
        form: of the parts: "five" classes, or "legs" for those with the four legs apart.
        masks: whether to read parts and segmentations too.
        categories: animals that count, such as [horse, cow]; None takes all.
        options: further arguments of `StillsDataModule`: label_set, root (the folder with images/, annotations/ and,
            with masks, parts/), splits (names of jsons in annotations/, or file names of pictures that
            annotations/all.json lists), synthetic (options of `HorseCowWriter`), image_size, flip, augment, batch_size,
            num_workers, seed and test_root.
    """

    layout = """\
images/NAME.jpg
annotations/SPLIT.json    COCO-style: keypoints, perhaps masks
parts/NAME.png            8 classes, if there are any"""
    published = PUBLISHED
    writer = HorseCowWriter

    def __init__(
        self, *, form: str = "five", masks: bool = True, categories: Sequence[str] | None = None, **options: Any
    ) -> None:
        if form not in FORMS:
            raise InputError(f"data.form={form} is not known; it is one of {', '.join(FORMS)}")
        super().__init__(FORMS[form].label_set, **options)
        self.reader = FORMS[form]
        self.masks, self.categories = masks, categories

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `HorseCow`."""
        return {"masks": self.masks, "categories": self.categories}

    def make_dataset(self, root: Path, stage: str) -> HorseCow:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Its pictures with an animal in them.
        """
        dataset: HorseCow = self.read(root, stage)
        dataset.transform.keypoint_pairs = keypoint_pairs(dataset.index.keypoint_names)  # known once the json is read
        return dataset
