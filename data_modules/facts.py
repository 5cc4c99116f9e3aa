"""The four FACTS datasets, tracklets of single persons, for TCNet and its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.base import SHOWN, ParsingDataModule
from data_modules.datasets.clips import numbered
from data_modules.datasets.facts import FACTS, IMAGES, PUBLISHED
from data_modules.synthetic.layouts.facts import FACTSWriter


class FACTSDataModule(ParsingDataModule):
    """Clips of 13 classes, the labelled frame last; one clip of each tracklet in training, all in val and test.

    Args:
        offsets: l and s, distances in frames from the labelled frame back to the others; none yields single pictures.
        image_size: (height, width) in pixels that every crop is resized to; the aspect is not kept.
        batch_size: clips of a batch on one process.
        another: whether training clips are any other frame of the tracklet and the labelled one (EM-Adapt).
        every: whether training takes clips of all frames, also of those without labels (flow).
        true_flow: whether evaluation has the true flow, which only a stand-in has.
        options: further arguments of `ParsingDataModule`: label_set, root (the folder with images/, labels/ and
            lists/), splits (names of lists, or the tracklets), synthetic (options of `FACTSWriter`), flip, augment,
            num_workers, seed and test_root.
    """

    layout = """\
images/TRACKLET/FRAME.jpg      all frames, numbered without gaps
labels/TRACKLET/FRAME.png      13 classes of the labelled frames, 255 ignored
lists/{train,val,test}.txt     a tracklet a row"""
    stretch = True
    reader = FACTS
    writer = FACTSWriter

    def __init__(
        self,
        *,
        offsets: Sequence[int] = (3, 1),
        image_size: int | Sequence[int] = (241, 121),
        batch_size: int = 8,
        another: bool = False,
        every: bool = False,
        true_flow: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(image_size=image_size, batch_size=batch_size, **options)
        self.offsets, self.another, self.every, self.true_flow = tuple(offsets), another, every, true_flow

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its tracklets and those of their frames that are samples."""
        return {"tracklets": len(dataset.tracklets), "labelled frames": len(dataset)}

    def clip(self) -> list[Path]:
        """Return the first frames of the first test tracklet, in order."""
        root = self.root("test")
        tracklet = self.read(root, "test").tracklets[0]
        return list(numbered(root / IMAGES / tracklet).values())[:SHOWN]

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `FACTS`."""
        training = stage == "train"
        return {
            "offsets": self.offsets,
            "single": training,
            "another": training and self.another,
            "every": training and self.every,
            "true_flow": not training and self.true_flow,
        }


class IndoorDataModule(FACTSDataModule):
    """Indoor: tracklets of indoor surveillance; l = 3, s = 1."""

    published = PUBLISHED["indoor"]


class OutdoorDataModule(FACTSDataModule):
    """Outdoor: fewer frames a second and quicker motion, so that l = 2, s = 1.

    Args:
        offsets: l and s, distances in frames from the labelled frame back to the others; none yields single pictures.
        options: further arguments of `FACTSDataModule`: image_size, batch_size, another, every, true_flow, label_set,
            root, splits, synthetic, flip, augment, num_workers, seed and test_root.
    """

    published = PUBLISHED["outdoor"]

    def __init__(self, *, offsets: Sequence[int] = (2, 1), **options: Any) -> None:
        super().__init__(offsets=offsets, **options)


class ILIDSDataModule(FACTSDataModule):
    """iLIDS-Parsing: tracklets of iLIDS-VID; l = 3, s = 1."""

    published = PUBLISHED["ilids"]


class DailyDataModule(FACTSDataModule):
    """Daily: tracklets of videos from the web; l = 3, s = 1."""

    published = PUBLISHED["daily"]
