"""Video without labels: windows of frames for the self-supervised loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from data_modules.base import SHOWN, ParsingDataModule
from data_modules.datasets.sequences import FrameFolder
from data_modules.datasets.unlabelled_video import JHMDB, JHMDB_KEYPOINT_PAIRS, UnlabelledVideo, find_split
from data_modules.loading.sampling import EvalSampler
from data_modules.synthetic.layouts.unlabelled_video import UnlabelledVideoWriter


class UnlabelledVideoDataModule(ParsingDataModule):
    """Windows `frames (B, window, 3, H, W)` of folders of frames, video files, PoseTrack18 or JHMDB.

    Args:
        window: frames of a sample, odd.
        stride: frames from one window to the next.
        joints: whether val and test also yield JHMDB's 15 joints of the middle frame.
        options: further arguments of `ParsingDataModule`: label_set, root (a folder with any of these), splits (a
            folder below the frames, "all", or a list of sequences), synthetic (options of `UnlabelledVideoWriter`),
            image_size, flip, augment, batch_size, num_workers, seed and test_root.
    """

    keypoint_pairs = JHMDB_KEYPOINT_PAIRS

    layout = """\
SEQ/FRAME.jpg                         folders of frames, or
NAME.mp4                              video files, or
images/{train,val,test}/SEQ/ID.jpg    PoseTrack18, or
Rename_Images/ACTION/VIDEO/ID.png     JHMDB"""
    reader = UnlabelledVideo
    writer = UnlabelledVideoWriter

    def __init__(self, *, window: int = 3, stride: int = 1, joints: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.window, self.stride, self.joints = window, stride, joints

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its sequences and the windows in them."""
        return {"sequences": len(dataset.sources), "windows": len(dataset)}

    def clip(self) -> list[Path]:
        """Return the first frames of the first test sequence that is a folder."""
        sources = find_split(self.root("test"), self.splits["test"])
        return next((list(s.files[:SHOWN]) for s in sources if isinstance(s, FrameFolder)), [])

    def make_dataset(self, root: Path, stage: str) -> UnlabelledVideo:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Its windows.
        """
        training = stage == "train"
        reader = JHMDB if self.joints and not training else UnlabelledVideo
        return reader(
            root,
            self.splits[stage],
            self.transform(stage),
            window=self.window,
            stride=self.stride,
            seed=self.seed if training else None,
        )

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return every training window once, as it is, each process its share: they are labelled."""
        dataset = UnlabelledVideo(
            self.root(), self.splits["train"], self.transform("val"), window=self.window, stride=self.stride
        )
        return self._loader(dataset, EvalSampler(len(dataset)))
