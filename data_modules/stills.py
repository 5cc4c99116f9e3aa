"""What the DataModules of labelled still pictures share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.images import LabelledImages
from data_modules.transforms import ClipTransform
from partwise.labels import LabelSet
from partwise.ops.flip import COCO_KEYPOINT_PAIRS


class StillsDataModule(ParsingDataModule):
    """Pictures augmented for training, and with native ground truth for val and test.

    Subclasses open their reader and render their stand-in; these arguments are theirs too.

    Args:
        label_set: of the labels it yields.
        root: folder in the dataset's native layout; None renders the stand-in.
        image_size: side of the square canvas, or its (height, width).
        splits: train, val and test: names of splits, or ids. Test is val unless named otherwise: the labels of these
            datasets' test pictures were never released.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training samples, in order.
        synthetic: parameters of the stand-in.
        batch_size: pictures a process and step.
        num_workers: loader processes.
        seed: of shuffling and augmentation.
        test_root: another folder of the same layout, all of which is the test set unless `splits` says otherwise.
    """

    #: (left, right) rows of the keypoints, which a flip exchanges.
    keypoint_pairs: ClassVar[Sequence[tuple[int, int]]] = COCO_KEYPOINT_PAIRS

    def __init__(
        self,
        label_set: LabelSet,
        *,
        root: str | Path | None = None,
        image_size: int | Sequence[int] = 512,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
        test_root: str | Path | None = None,
    ) -> None:
        super().__init__(
            label_set,
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

    @abstractmethod
    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> LabelledImages:
        """The reader of a split."""

    def make_dataset(self, root: Path, stage: str) -> LabelledImages:
        """The pictures of a stage."""
        training = stage == "train"
        transform = ClipTransform(
            self.image_size,
            self.label_set,
            self.flip if training else 0.0,
            self.augment if training else (),
            self.keypoint_pairs,
        )
        seed = self.seed if training else None
        return self.read(root, self.splits[stage], transform, seed=seed, annotations=not training)
