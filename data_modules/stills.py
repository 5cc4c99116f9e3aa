"""Base of the DataModules of labelled still pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.base import ParsingDataModule
from partwise.labels import LabelSet


class StillsDataModule(ParsingDataModule):
    """Pictures augmented for training, and with native ground truth for val and test.

    Args:
        label_set: classes of the parts; None takes the reader's.
        splits: train, val and test: names of splits, or ids. Test is val unless named, or None: the labels of these
            datasets' test pictures were never released.
        batch_size: pictures of a batch on one process.
        test_root: another folder of the same layout, all of which is the test set unless `splits` says otherwise.
        options: further arguments of `ParsingDataModule`: root, image_size, flip, augment, synthetic, num_workers and
            seed.
    """

    def __init__(
        self,
        label_set: LabelSet | None = None,
        *,
        splits: Mapping[str, str | Sequence[str] | None] | None = None,
        batch_size: int = 8,
        test_root: str | Path | None = None,
        **options: Any,
    ) -> None:
        chosen = {stage: split for stage, split in (splits or {}).items() if split is not None}
        chosen.setdefault("test", "val" if test_root is None else "all")
        super().__init__(label_set, splits=chosen, batch_size=batch_size, test_root=test_root, **options)
