"""CIHP: several people a picture, for parsers of parts and persons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.cihp import CIHP, PUBLISHED
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule


class CIHPDataModule(StillsDataModule):
    """Pictures and 20 classes, persons where they are numbered; native ground truth for val and test.

    Args:
        options: see `StillsDataModule`. `root` is instance-level_human_parsing/ or the folder above; `synthetic` are
            parameters of `data_modules.synthetic.layouts.cihp.write_cihp`.
    """

    layout = """\
instance-level_human_parsing/{Training,Validation}/Images/ID.jpg
instance-level_human_parsing/{Training,Validation}/Category_ids/ID.png                 20 classes
instance-level_human_parsing/{Training,Validation}/{Human_ids,Instance_ids}/ID.png     if there are any
instance-level_human_parsing/{Training/train_id.txt,Validation/val_id.txt}"""
    published = PUBLISHED

    def __init__(self, **options: Any) -> None:
        super().__init__(CIHP.label_set, **options)

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.cihp import write_cihp

        return stand_in(write_cihp, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> CIHP:
        """The reader of a split."""
        return CIHP(root, split, transform, seed=seed, annotations=annotations)
