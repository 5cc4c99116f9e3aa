"""Base of the DataModules of labelled still pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from data_modules.base import ParsingDataModule
from data_modules.datasets.folder import LabelledFolder
from data_modules.datasets.union import Union
from partwise.errors import InputError
from partwise.labels import LabelSet


class StillsDataModule(ParsingDataModule):
    """Pictures augmented for training, and with native ground truth for val and test.

    Args:
        label_set: classes of the parts; None takes the reader's.
        splits: train, val and test: names of splits, or ids. Test is val unless named, or None: the labels of these
            datasets' test pictures were never released.
        batch_size: pictures of a batch on one process.
        test_root: another folder of the same layout, all of which is the test set unless `splits` says otherwise.
        extra: folder with frames/ and labels/ in the same classes, all of which is added to the training split; samples
            then have parts alone.
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
        extra: str | Path | None = None,
        **options: Any,
    ) -> None:
        chosen = {stage: split for stage, split in (splits or {}).items() if split is not None}
        chosen.setdefault("test", "val" if test_root is None else "all")
        super().__init__(label_set, splits=chosen, batch_size=batch_size, test_root=test_root, **options)
        if extra is not None and not Path(extra).is_dir():
            raise InputError(f"data.extra={extra} is not a folder; name one with frames/ and labels/, or a stage")
        self.extra = None if extra is None else Path(extra)

    def dataset(self, stage: str) -> Dataset[dict[str, Any]]:
        """Return the dataset of a stage, also for use without a Trainer."""
        own = super().dataset(stage)
        if stage != "train" or self.extra is None:
            return own
        return self.join(own, self.extra)

    def join(self, own: Any, extra: Path) -> Dataset[dict[str, Any]]:
        """Add further labels to the training split.

        Args:
            own: the training split.
            extra: folder of the further labels.
        """
        transform = self.transform("train")
        return Union(own, LabelledFolder(extra, "all", transform, label_set=self.label_set, seed=self.seed))
