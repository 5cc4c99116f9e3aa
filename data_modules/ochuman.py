"""OCHuman: heavily occluded persons, the test bench of the self-supervised loop."""

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

    OCHuman has no training split, for it is meant for evaluation. To train on it all the same, name one, such as
    `splits={"train": "val"}`; it can then serve pose transfer as a mask-and-keypoint pool.

    Args:
        splits: train, val and test: "val", "test", a subset such as "test_range_0.75_1.00", or file names.
        options: see `StillsDataModule`. `root` is the folder with images/ and the jsons; `synthetic` are parameters of
            `data_modules.synthetic.layouts.ochuman.OCHumanWriter`.
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
        """Its pictures and the annotated persons in them."""
        return {"pictures": len(dataset), "persons": dataset.index.count(dataset.ids)}

    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """Returns the pictures of a stage; in training, those with somebody in them."""
        if self.splits[stage] == "train":
            raise InputError("OCHuman has no training split; train on COCOPersons, or name one in data.splits.train")
        return super().make_dataset(root, stage)
