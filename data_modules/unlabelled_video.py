"""Video without labels: windows of frames for the self-supervised loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A

from data_modules.base import ParsingDataModule
from data_modules.datasets.sequences import FrameFolder
from data_modules.datasets.unlabelled_video import JHMDB, JHMDB_KEYPOINT_PAIRS, UnlabelledVideo, find_split
from data_modules.transforms import ClipTransform

#: Frames of a sequence that are shown, at most.
_SHOWN = 24


class UnlabelledVideoDataModule(ParsingDataModule):
    """Windows `frames (B, window, 3, H, W)` of folders of frames, video files, PoseTrack18 or JHMDB.

    Args:
        root: folder with any of these; None renders the stand-in.
        image_size: side of the square canvas, or its (height, width).
        window: frames of a sample, odd.
        stride: frames from one window to the next.
        splits: train, val and test: a folder below the frames, "all", or a list of sequences.
        joints: in val and test also yield JHMDB's 15 joints of the middle frame.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training samples, in order, alike for all frames of a window.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.unlabelled_video.write_unlabelled_video`.
        batch_size: windows a process and step.
        num_workers: loader processes.
        seed: of shuffling and augmentation.
    """

    layout = """\
SEQ/FRAME.jpg                         folders of frames, or
NAME.mp4                              video files, or
images/{train,val,test}/SEQ/ID.jpg    PoseTrack18, or
Rename_Images/ACTION/VIDEO/ID.png     JHMDB"""

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        image_size: int | Sequence[int] = 512,
        window: int = 3,
        stride: int = 1,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        joints: bool = False,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            UnlabelledVideo.label_set,
            root=root,
            splits={"train": "train", "val": "val", "test": "test", **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.window, self.stride, self.joints = window, stride, joints
        self.flip, self.augment = flip, augment
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.unlabelled_video import write_unlabelled_video

        return stand_in(write_unlabelled_video, **self.stand_in_parameters)

    def clip(self) -> list[Path]:
        """The first frames of the first test sequence that is a folder."""
        sources = find_split(self.root("test"), self.splits["test"])
        return next((list(s.files[:_SHOWN]) for s in sources if isinstance(s, FrameFolder)), [])

    def make_dataset(self, root: Path, stage: str) -> UnlabelledVideo:
        """The windows of a stage."""
        training = stage == "train"
        transform = ClipTransform(
            self.image_size,
            self.label_set,
            self.flip if training else 0.0,
            self.augment if training else (),
            JHMDB_KEYPOINT_PAIRS,
        )
        reader = JHMDB if self.joints and not training else UnlabelledVideo
        return reader(
            root,
            self.splits[stage],
            transform,
            window=self.window,
            stride=self.stride,
            seed=self.seed if training else None,
        )
