"""OCHuman: heavily occluded persons, on which the self-supervised loop is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from data_modules.datasets.ochuman import PUBLISHED, OCHuman
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.ochuman import OCHumanWriter
from partwise.errors import InputError


class OCHumanDataModule(StillsDataModule):
    """Pictures, foreground, person ids and 17 keypoints; native ground truth for val and test.

    OCHuman is meant for evaluation and has no training split. To train on it all the same, name one, such as
    `splits={"train": "val"}`; it can then serve pose transfer as a mask-and-keypoint pool.

    Args:
        splits: train, val and test: "val", "test", a subset such as "test_range_0.75_1.00", or file names.
        options: further arguments of `StillsDataModule`: label_set, root (the folder with images/ and the jsons),
            synthetic (options of `OCHumanWriter`), image_size, flip, augment, batch_size, num_workers, seed and
            test_root.
    """

    stages = ("val", "test")

    layout = """\
images/000001.jpg
ochuman_coco_format_{val,test}_range_0.00_1.00.json    COCO-style: boxes, 17 keypoints, RLE masks"""
    published = PUBLISHED
    reader = OCHuman
    writer = OCHumanWriter

    def __init__(self, *, splits: Mapping[str, str | Sequence[str]] | None = None, **options: Any) -> None:
        super().__init__(splits={"test": "test", **(splits or {})}, **options)

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its pictures and the annotated persons in them."""
        return {"pictures": len(dataset), "persons": dataset.index.count(dataset.ids)}

    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Its pictures; in training, those with somebody in them.
        """
        if self.splits[stage] == "train":
            raise InputError("OCHuman has no training split; train on COCOPersons, or name one in data.splits.train")
        return super().make_dataset(root, stage)
