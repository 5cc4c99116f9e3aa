"""Your own frames with a few label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.folder import LabelledFolder
from data_modules.transforms import ClipTransform
from partwise.errors import InputError
from partwise.labels import PASCAL_PERSON_PART, LabelSet


class LabelledFolderDataModule(ParsingDataModule):
    """Frames and label maps of your own classes; see `LabelledFolder` for the two folders.

    Args:
        root: folder with frames/ and labels/; None renders a stand-in with Pascal-Person-Part's classes.
        test_root: another such folder, all of which is the test set; without one, validation frames are.
        classes: names by id, background first. None takes Pascal-Person-Part's.
        pairs: (left, right) names that a horizontal flip exchanges.
        image_size: side of the square canvas, or its (height, width).
        splits: train, val and test: "train", "val", "all", or names.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training samples, in order.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.folder.write_folder`.
        batch_size: frames a process and step.
        num_workers: loader processes.
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        test_root: str | Path | None = None,
        classes: Sequence[str] | None = None,
        pairs: Sequence[Sequence[str]] = (),
        image_size: int | Sequence[int] = 256,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            _label_set(classes, pairs),
            root=root,
            splits={"train": "train", "val": "val", "test": "val" if test_root is None else "all", **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            test_root=test_root,
        )
        self.flip, self.augment = flip, augment
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.folder import write_folder

        if self.label_set != PASCAL_PERSON_PART:
            raise InputError("data.classes are yours, the stand-in has Pascal-Person-Part's; name data.root too")
        return stand_in(write_folder, **self.stand_in_parameters)

    def make_dataset(self, root: Path, stage: str) -> LabelledFolder:
        """The labelled frames of a stage."""
        training = stage == "train"
        transform = ClipTransform(
            self.image_size, self.label_set, self.flip if training else 0.0, self.augment if training else ()
        )
        return LabelledFolder(
            root,
            self.label_set,
            self.splits[stage],
            transform,
            seed=self.seed if training else None,
            annotations=not training,
        )


def _label_set(classes: Sequence[str] | None, pairs: Sequence[Sequence[str]]) -> LabelSet:
    if classes is None:
        return PASCAL_PERSON_PART
    unknown = [name for pair in pairs for name in pair if name not in classes]
    if unknown:
        raise InputError(f"data.pairs names {unknown[0]!r}, which data.classes does not have")
    ids = {name: i for i, name in enumerate(classes)}
    return LabelSet("own", tuple(classes), tuple((ids[left], ids[right]) for left, right in pairs))
