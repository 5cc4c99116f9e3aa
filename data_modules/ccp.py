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
        train_photos: number of training photos used, spread evenly over them; None takes all.
        options: further arguments of `StillsDataModule`: label_set, root (the folder with photos/, annotations/ and
            label_list.mat), splits ("train", "val", "all", "fit", "held_out", or ids), synthetic (options of
            `CCPWriter`), image_size, flip, augment, batch_size, num_workers, seed and test_root.
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
        """Count its photos, all of which have labels."""
        return {"pixel-labelled photos": len(dataset)}

    def make_dataset(self, root: Path, stage: str) -> CCP:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Its photos.
        """
        split = self.splits[stage]
        if stage == "train" and self.train_photos is not None:
            split = _evenly(split_ids(root, split) if isinstance(split, str) else split, self.train_photos)
        dataset: CCP = self.read(root, stage, split)
        return dataset


def _evenly(ids: Sequence[str], count: int) -> list[str]:
    if not 0 < count <= len(ids):
        raise InputError(f"data.train_photos={count}: there are {len(ids)} training photos; take 1 to {len(ids)}")
    return [ids[i * len(ids) // count] for i in range(count)]
