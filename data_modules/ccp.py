"""Clothing Co-Parsing: street photos of one person each, for dense parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.ccp import CCP, split_ids
from data_modules.transforms import ClipTransform
from partwise.errors import InputError


class CCPDataModule(ParsingDataModule):
    """Photos and 14 classes; native ground truth for val and test.

    Args:
        root: folder with photos/, annotations/ and label_list.mat; None renders the stand-in.
        test_root: another folder of the same layout, all of which is the test set. Without one, the test set is the
            validation set.
        image_size: side of the square canvas, or its (height, width).
        splits: train, val and test: "train", "val", "all", or ids.
        train_photos: train on so many of the training photos, spread evenly over them; None takes all.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training samples, in order.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.ccp.write_ccp`.
        batch_size: photos a process and step.
        num_workers: loader processes.
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        test_root: str | Path | None = None,
        image_size: int | Sequence[int] = (288, 192),
        splits: Mapping[str, str | Sequence[str]] | None = None,
        train_photos: int | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        elsewhere = "val" if test_root is None else "all"
        super().__init__(
            CCP.label_set,
            root=root,
            splits={"train": "train", "val": "val", "test": elsewhere, **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            test_root=test_root,
        )
        self.flip, self.augment, self.train_photos = flip, augment, train_photos
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.ccp import write_ccp

        return stand_in(write_ccp, **self.stand_in_parameters)

    def make_dataset(self, root: Path, stage: str) -> CCP:
        """The photos of a stage."""
        training = stage == "train"
        transform = ClipTransform(
            self.image_size, self.label_set, self.flip if training else 0.0, self.augment if training else ()
        )
        split = self.splits[stage]
        if training and self.train_photos is not None:
            split = _evenly(split_ids(root, split) if isinstance(split, str) else split, self.train_photos)
        return CCP(root, split, transform, seed=self.seed if training else None, annotations=not training)


def _evenly(ids: Sequence[str], count: int) -> list[str]:
    if not 0 < count <= len(ids):
        raise InputError(f"data.train_photos={count}: there are {len(ids)} training photos; take 1 to {len(ids)}")
    return [ids[i * len(ids) // count] for i in range(count)]
