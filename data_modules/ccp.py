"""Clothing Co-Parsing: street photos of one person each, for dense parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.ccp import CCP, PUBLISHED, split_ids
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule
from partwise.errors import InputError


class CCPDataModule(StillsDataModule):
    """Photos and 14 classes; native ground truth for val and test.

    Args:
        train_photos: train on so many of the training photos, spread evenly over them; None takes all.
        options: see `StillsDataModule`. Splits are "train", "val" and "all"; the stand-in's parameters are those of
            `data_modules.synthetic.layouts.ccp.write_ccp`.
    """

    layout = """\
photos/0001.jpg
annotations/pixel-level/0001.mat    groundtruth: 59 classes
label_list.mat                      their names, null first"""
    published = PUBLISHED

    def __init__(self, *, train_photos: int | None = None, **options: Any) -> None:
        super().__init__(CCP.label_set, **options)
        self.train_photos = train_photos

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Its photos have labels, all of them."""
        return {"pixel-labelled photos": len(dataset)}

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.ccp import write_ccp

        return stand_in(write_ccp, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> CCP:
        """The photos of a split."""
        training = seed is not None
        if training and self.train_photos is not None:
            split = _evenly(split_ids(root, split) if isinstance(split, str) else split, self.train_photos)
        return CCP(root, split, transform, seed=seed, annotations=annotations)


def _evenly(ids: Sequence[str], count: int) -> list[str]:
    if not 0 < count <= len(ids):
        raise InputError(f"data.train_photos={count}: there are {len(ids)} training photos; take 1 to {len(ids)}")
    return [ids[i * len(ids) // count] for i in range(count)]
