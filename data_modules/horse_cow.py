"""Horses and cows: pose transfer beyond people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.horse_cow import PUBLISHED, HorseCow, keypoint_pairs
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule


class HorseCowDataModule(StillsDataModule):
    """Pictures and keypoints; with `masks` also 7 classes of parts, animal ids and native ground truth.

    With masks it is pose transfer's mask-and-keypoint pool of animals, without its keypoint-only pool. Splits are
    names of jsons in annotations/, or file names of pictures that annotations/all.json lists.

    Args:
        masks: also read parts and segmentations.
        categories: animals that count, such as [horse, cow]; None takes all.
        options: see `StillsDataModule`. `root` is the folder with images/, annotations/ and, with masks, parts/;
            `synthetic` are parameters of `data_modules.synthetic.layouts.horse_cow.write_horse_cow`.
    """

    layout = """\
images/NAME.jpg
annotations/SPLIT.json    COCO-style: keypoints, perhaps masks
parts/NAME.png            7 classes, if there are any"""
    published = PUBLISHED

    def __init__(self, *, masks: bool = True, categories: Sequence[str] | None = None, **options: Any) -> None:
        super().__init__(HorseCow.label_set, **options)
        self.masks, self.categories = masks, categories

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.horse_cow import write_horse_cow

        return stand_in(write_horse_cow, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> HorseCow:
        """The reader of a split, of its pictures with an animal in them."""
        dataset = HorseCow(
            root, split, transform, seed=seed, annotations=annotations, masks=self.masks, categories=self.categories
        )
        transform.keypoint_pairs = keypoint_pairs(dataset.index.keypoint_names)  # known once the json is read
        return dataset
