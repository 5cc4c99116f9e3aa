"""LIP: crops of single people, for dense parsers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.lip import LIP, PUBLISHED
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule


class LIPDataModule(StillsDataModule):
    """Crops and 20 classes; native ground truth for val and test.

    Args:
        options: see `StillsDataModule`. `root` is the folder with TrainVal_images/ and TrainVal_parsing_annotations/,
            or the one above; `synthetic` are parameters of `data_modules.synthetic.layouts.lip.write_lip`.
    """

    layout = """\
TrainVal_images/{train,val}_images/ID.jpg
TrainVal_parsing_annotations/{train,val}_segmentations/ID.png    20 classes
TrainVal_images/{train,val}_id.txt                               or beside TrainVal_images/"""
    published = PUBLISHED

    def __init__(self, **options: Any) -> None:
        super().__init__(LIP.label_set, **options)

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.lip import write_lip

        return stand_in(write_lip, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> LIP:
        """The reader of a split."""
        return LIP(root, split, transform, seed=seed, annotations=annotations)
