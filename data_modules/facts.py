"""The four FACTS datasets, tracklets of single persons, for TCNet and its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.base import SHOWN, ParsingDataModule
from data_modules.datasets.clips import numbered
from data_modules.datasets.facts import FACTS, PUBLISHED
from data_modules.synthetic.layouts.facts import FACTSWriter


class FACTSDataModule(ParsingDataModule):
    """Clips of 13 classes, the labelled frame last; one clip of each tracklet in training, all in val and test.

    Args:
        offsets: l and s, how many frames before the labelled one the others lie; none yields single pictures.
        image_size: (height, width) that every crop is resized to; the aspect is not kept.
        batch_size: clips a process and step.
        another: train on clips of any other frame of the tracklet and the labelled one (EM-Adapt).
        every: train on clips of all frames, also of those without labels (flow).
        true_flow: hand out the true flow in evaluation, which a stand-in has.
        options: see `ParsingDataModule`. `root` is the folder with images/, labels/ and lists/; `splits` are names of
            lists or the tracklets; `synthetic` are parameters of `data_modules.synthetic.layouts.facts.FACTSWriter`.
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
        """Its tracklets and those of their frames that are samples."""
        return {"tracklets": len(dataset.tracklets), "labelled frames": len(dataset)}

    def clip(self) -> list[Path]:
        """The first frames of the first test tracklet, in order."""
        root = self.root("test")
        tracklet = self.read(root, "test").tracklets[0]
        return list(numbered(root / "images" / tracklet).values())[:SHOWN]

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Returns the further arguments of `FACTS`."""
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
    """Outdoor: fewer frames a second and quicker motion, so that l = 2, s = 1."""

    published = PUBLISHED["outdoor"]

    def __init__(self, *, offsets: Sequence[int] = (2, 1), **options: Any) -> None:
        super().__init__(offsets=offsets, **options)


class ILIDSDataModule(FACTSDataModule):
    """iLIDS-Parsing: tracklets of iLIDS-VID; l = 3, s = 1."""

    published = PUBLISHED["ilids"]


class DailyDataModule(FACTSDataModule):
    """Daily: tracklets of videos from the web; l = 3, s = 1."""

    published = PUBLISHED["daily"]
