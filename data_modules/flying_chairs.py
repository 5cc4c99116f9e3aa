"""FlyingChairs: pairs of frames with dense flow, on which flow networks are trained first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.base import ParsingDataModule
from data_modules.datasets.flying_chairs import PUBLISHED, FlyingChairs
from data_modules.synthetic.layouts.flying_chairs import FlyingChairsWriter


class FlyingChairsDataModule(ParsingDataModule):
    """Pairs `frames (B, 2, 3, H, W)` and `flow (B, 2, H, W)`, (dx, dy) pixels from the first frame to the second.

    Training takes random crops at the frames' own size, as resizing would blur the flow; evaluation takes whole
    frames.

    Args:
        crop: side of the square crop in training in pixels, or its (height, width); None takes whole frames.
        splits: train, val and test: "train", "val", "all", or ids.
        batch_size: pairs of a batch on one process.
        options: further arguments of `ParsingDataModule`: label_set (of no effect), root (the folder with
            FlyingChairs_release/ and FlyingChairs_train_val.txt), synthetic (options of `FlyingChairsWriter`), flip,
            augment (never one that moves pixels), num_workers, seed and test_root.
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
        crop: int | Sequence[int] | None = (320, 448),
        splits: Mapping[str, str | Sequence[str]] | None = None,
        batch_size: int = 8,
        **options: Any,
    ) -> None:
        image_size = (384, 512) if crop is None else crop
        super().__init__(
            splits={"test": "val", **(splits or {})}, image_size=image_size, batch_size=batch_size, **options
        )
        self.crop = crop

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its pairs of frames."""
        return {"pairs": len(dataset)}

    def make_dataset(self, root: Path, stage: str) -> FlyingChairs:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Its pairs.
        """
        training = stage == "train"
        return FlyingChairs(
            root,
            self.splits[stage],
            crop=self.crop,
            flip=self.flip,
            augment=self.augment,
            seed=self.seed if training else None,
        )
