"""FlyingChairs: what flow networks are trained on first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.flying_chairs import PUBLISHED, FlyingChairs
from data_modules.synthetic.layouts.flying_chairs import FlyingChairsWriter


class FlyingChairsDataModule(ParsingDataModule):
    """Pairs `frames (B, 2, 3, H, W)` and `flow (B, 2, H, W)`, (dx, dy) pixels from the first frame to the second.

    Training takes random crops at the frames' own size, for resizing would blur the flow; evaluation takes whole
    frames.

    Args:
        root: folder with FlyingChairs_release/ and FlyingChairs_train_val.txt; None renders the stand-in.
        crop: side of the square crop in training, or its (height, width); None takes whole frames.
        splits: train, val and test: "train", "val", "all", or ids.
        flip: probability of a horizontal flip in training.
        augment: see `FlyingChairs`.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.layouts.flying_chairs.FlyingChairsWriter`.
        batch_size: pairs a process and step.
        num_workers: loader processes.
        seed: of shuffling, crops and flips.
    """

    layout = """\
FlyingChairs_release/data/00001_{img1,img2}.ppm
FlyingChairs_release/data/00001_flow.flo
FlyingChairs_train_val.txt    a row a pair: 1 trains, 2 validates"""
    published = PUBLISHED
    reader = FlyingChairs
    writer = FlyingChairsWriter

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        crop: int | Sequence[int] | None = (320, 448),
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            FlyingChairs.label_set,
            root=root,
            splits={"test": "val", **(splits or {})},
            image_size=(384, 512) if crop is None else crop,
            flip=flip,
            augment=augment,
            synthetic=synthetic,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.crop = crop

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Its pairs of frames."""
        return {"pairs": len(dataset)}

    def make_dataset(self, root: Path, stage: str) -> FlyingChairs:
        """The pairs of a stage."""
        training = stage == "train"
        return FlyingChairs(
            root,
            self.splits[stage],
            crop=self.crop,
            flip=self.flip,
            augment=self.augment,
            seed=self.seed if training else None,
        )
