"""Clothing Co-Parsing: street photos of one person each, for dense parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.ccp import CCP, PUBLISHED, split_ids
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.ccp import CCPWriter
from partwise.errors import InputError


class CCPDataModule(StillsDataModule):
    """Photos and 14 classes; native ground truth for val and test.

    Args:
        train_photos: train on so many of the training photos, spread evenly over them; None takes all.
        options: see `StillsDataModule`. Splits are "train", "val" and "all"; the stand-in's parameters are those of
            `data_modules.synthetic.layouts.ccp.CCPWriter`.
    """

    layout = """\
photos/0001.jpg
annotations/pixel-level/0001.mat    groundtruth: 59 classes
label_list.mat                      their names, null first"""
    published = PUBLISHED
    reader = CCP
    writer = CCPWriter

    def __init__(self, *, train_photos: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.train_photos = train_photos

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Its photos have labels, all of them."""
        return {"pixel-labelled photos": len(dataset)}

    def make_dataset(self, root: Path, stage: str) -> CCP:
        """Returns the photos of a stage."""
        split = self.splits[stage]
        if stage == "train" and self.train_photos is not None:
            split = _evenly(split_ids(root, split) if isinstance(split, str) else split, self.train_photos)
        dataset: CCP = self.read(root, stage, split)
        return dataset


def _evenly(ids: Sequence[str], count: int) -> list[str]:
    if not 0 < count <= len(ids):
        raise InputError(f"data.train_photos={count}: there are {len(ids)} training photos; take 1 to {len(ids)}")
    return [ids[i * len(ids) // count] for i in range(count)]
