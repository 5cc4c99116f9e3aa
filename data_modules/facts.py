"""The four FACTS datasets, tracklets of single persons, for TCNet and its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.clips import numbered
from data_modules.datasets.facts import FACTS, PUBLISHED
from data_modules.transforms import ClipTransform

#: Frames of a tracklet that are shown, at most.
_SHOWN = 24


class FACTSDataModule(ParsingDataModule):
    """Clips of 13 classes, the labelled frame last; one clip of each tracklet in training, all in val and test.

    Args:
        root: folder with images/, labels/ and lists/; None renders the stand-in.
        offsets: l and s, how many frames before the labelled one the others lie; none yields single pictures.
        image_size: (height, width) that every crop is resized to; the aspect is not kept.
        splits: list names, or the tracklets themselves, of train, val and test.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training clips, in order.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.facts.write_facts`.
        batch_size: clips a process and step.
        num_workers: loader processes.
        seed: of shuffling and augmentation.
    """

    layout = """\
images/TRACKLET/FRAME.jpg      all frames, numbered without gaps
labels/TRACKLET/FRAME.png      13 classes of the labelled frames, 255 ignored
lists/{train,val,test}.txt     a tracklet a row"""

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        offsets: Sequence[int] = (3, 1),
        image_size: int | Sequence[int] = (241, 121),
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            FACTS.label_set,
            root=root,
            splits={"train": "train", "val": "val", "test": "test", **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.offsets, self.flip, self.augment = tuple(offsets), flip, augment
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.facts import write_facts

        return stand_in(write_facts, **self.stand_in_parameters)

    def clip(self) -> list[Path]:
        """The first frames of the first test tracklet, in order."""
        root = self.root("test")
        tracklet = self.make_dataset(root, "test").tracklets[0]
        return list(numbered(root / "images" / tracklet).values())[:_SHOWN]

    def make_dataset(self, root: Path, stage: str) -> FACTS:
        """The labelled frames of a stage with those before them."""
        training = stage == "train"
        transform = ClipTransform(
            self.image_size,
            self.label_set,
            self.flip if training else 0.0,
            self.augment if training else (),
            stretch=True,
        )
        return FACTS(
            root,
            self.splits[stage],
            transform,
            offsets=self.offsets,
            single=training,
            seed=self.seed if training else None,
            annotations=not training,
        )


class IndoorDataModule(FACTSDataModule):
    """Indoor: tracklets of indoor surveillance; l = 3, s = 1."""

    published: ClassVar[Mapping[str, int]] = PUBLISHED["indoor"]


class OutdoorDataModule(FACTSDataModule):
    """Outdoor: fewer frames a second and quicker motion, so that l = 2, s = 1."""

    published: ClassVar[Mapping[str, int]] = PUBLISHED["outdoor"]

    def __init__(self, *, offsets: Sequence[int] = (2, 1), **options: Any) -> None:
        super().__init__(offsets=offsets, **options)


class ILIDSDataModule(FACTSDataModule):
    """iLIDS-Parsing: tracklets of iLIDS-VID; l = 3, s = 1."""

    published: ClassVar[Mapping[str, int]] = PUBLISHED["ilids"]


class DailyDataModule(FACTSDataModule):
    """Daily: tracklets of videos from the web; l = 3, s = 1."""

    published: ClassVar[Mapping[str, int]] = PUBLISHED["daily"]
