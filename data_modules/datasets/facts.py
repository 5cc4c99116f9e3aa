"""FACTS, TCNet's tracklets of single persons: Indoor, Outdoor, iLIDS-Parsing and Daily share one layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from data_modules.datasets.clips import ClipFiles, LabelledClips, frame_at, numbered
from data_modules.formats.label_maps import read_parts
from data_modules.formats.layout import check_folders, given_ids, read_split
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.errors import InputError
from partwise.labels import FACTS as LABELS
from partwise.labels import IGNORE
from partwise.ops.flow import resize_flow
from partwise.ops.resize import canvas_size

if TYPE_CHECKING:
    from data_modules.synthetic.render.renderer import Renderer

#: Published numbers; the paper's table has the labelled frames, its text the tracklets of two datasets.
PUBLISHED = {
    "indoor": {
        "train": {"tracklets": 400, "labelled frames": 400},
        "val": {"tracklets": 100, "labelled frames": 500},
        "test": {"tracklets": 200, "labelled frames": 1000},
    },
    "outdoor": {
        "train": {"tracklets": 421, "labelled frames": 421},
        "val": {"tracklets": 120, "labelled frames": 582},
        "test": {"tracklets": 200, "labelled frames": 1000},
    },
    "ilids": {
        "train": {"labelled frames": 100},
        "val": {"labelled frames": 285},
        "test": {"labelled frames": 500},
    },
    "daily": {
        "train": {"labelled frames": 244},
        "val": {"labelled frames": 120},
        "test": {"labelled frames": 670},
    },
}

#: Folders of the frames, of the label maps and of the lists.
IMAGES, MAPS, LISTS = "images", "labels", "lists"


class FACTS(LabelledClips):
    """Labelled frames of tracklets, each after the earlier frames that TCNet reads with it.

    Layout: `images/TRACKLET/FRAME.jpg`, numbered without gaps; `labels/TRACKLET/FRAME.png`, the 13 classes of the
    labelled frames; `lists/SPLIT.txt`, a tracklet a row. A tracklet's name may hold slashes. Where a tracklet has too
    few earlier frames its first one stands in for them, as the sample's `offsets` show.

    Args:
        root: folder of the layout.
        split: name of a list, or the tracklets themselves.
        transform: makes the training or evaluation clip.
        offsets: l and s, distances in frames from the target back to the others; none makes samples single pictures.
        single: whether to use one labelled frame of each tracklet, the middle one, as TCNet does in training.
        another: whether to take any other frame of the tracklet instead of those at `offsets`.
        every: whether every frame is a target; those without labels are ignored altogether.
        true_flow: whether samples have the flow (T - 1, 2, H, W) from the target to each earlier frame; only a stand-in
            has it.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        tracklets: names, in order.
    """

    label_set = LABELS

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        offsets: Sequence[int] = (3, 1),
        single: bool = False,
        another: bool = False,
        every: bool = False,
        true_flow: bool = False,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        if any(offset < 1 for offset in offsets):
            raise InputError(f"data.offsets={list(offsets)}: frames lie 1 or more before the labelled one")
        self.offsets, self.single = tuple(offsets), single
        self.another, self.every, self.true_flow = another, every, true_flow
        self._truth: tuple[str, Renderer] | None = None
        super().__init__(root, split, transform, seed=seed, annotations=annotations)

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the target frames TRACKLET/FRAME of all tracklets of the split."""
        folders = (IMAGES, MAPS, *([LISTS] * isinstance(split, str)))
        check_folders(self.root, "FACTS tracklets", folders, "images/, labels/ and lists/")
        lists = self.root / LISTS
        self.tracklets = read_split("FACTS", lists, split, ".txt") if isinstance(split, str) else given_ids(split)
        return [f"{name}/{stem}" for name in self.tracklets for stem in self._targets(name)]

    def _targets(self, tracklet: str) -> list[str]:
        if self.every:
            return every_frame(self.root, tracklet)
        return labelled_frames(self.root, tracklet, self.single)

    def file(self, index: int) -> Path:
        """Return the path of the labelled frame."""
        return self.root / IMAGES / f"{self.ids[index]}.jpg"

    def video(self, index: int) -> tuple[int, Mapping[int, Path]]:
        """Return the number of the labelled frame, and number -> file of all frames of its tracklet."""
        target = self.file(index)
        return int(target.stem), numbered(target.parent)

    def clip_files(self, index: int, rng: np.random.Generator) -> ClipFiles | None:
        """Choose the frames l and s earlier, no earlier than the tracklet's first; or another frame.

        Args:
            index: of the sample.
            rng: of this sample and epoch; in evaluation of this sample alone.

        Returns:
            Their files and offsets; None without `offsets`.
        """
        if not self.offsets:
            return None
        now, frames = self.video(index)
        first = min(frames)
        if self.another:
            number = int(rng.choice([n for n in frames if n != now] or [now]))
            return ClipFiles([frames[number]], [number - now])
        earlier = [max(now - offset, first) for offset in self.offsets]
        return ClipFiles([frame_at(frames, number) for number in earlier], [number - now for number in earlier])

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One clip, perhaps with its true flow; or one picture if there are no offsets."""
        sample = super().__getitem__(draw)
        if self.true_flow:
            sample["flow"] = self._true_flow(self.ids[sample["index"]], sample["offsets"][:-1].tolist())
        return sample

    def _true_flow(self, name: str, offsets: Sequence[int]) -> torch.Tensor:
        from data_modules.synthetic.render.truth import load_truth

        tracklet, stem = name.rsplit("/", 1)
        frames = list(numbered(self.root / IMAGES / tracklet))
        if self._truth is None or self._truth[0] != tracklet:  # labelled frames of a tracklet follow each other
            self._truth = tracklet, load_truth(self.root, tracklet)
        renderer = self._truth[1]
        step = (renderer.scene.frames - 1) // max(len(frames) - 1, 1)  # of the rendered video, a frame here
        now = frames.index(int(stem)) * step
        flows = [torch.from_numpy(renderer.flow(now, now + offset * step)[0]) for offset in offsets]
        return resize_flow(torch.stack(flows), canvas_size(self.transform.size))

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the 13 classes; persons are not numbered.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts; 255 everywhere if the frame has no labels.
        """
        file = self.root / MAPS / f"{name}.png"
        if self.every and not file.exists():
            return Labels(parts=np.full(size, IGNORE, np.uint8))
        return Labels(parts=read_parts(file, self.label_set, size))


def every_frame(root: Path, tracklet: str) -> list[str]:
    """List all frames of a tracklet.

    Args:
        root: folder of the layout.
        tracklet: its name.

    Returns:
        Names in order.
    """
    return [file.stem for file in numbered(root / IMAGES / tracklet).values()]


def labelled_frames(root: Path, tracklet: str, single: bool) -> list[str]:
    """List the labelled frames of a tracklet.

    Args:
        root: folder of the layout.
        tracklet: its name.
        single: whether to take the middle one alone.

    Returns:
        Names in order.

    Raises:
        InputError: the tracklet has no images or no labels.
    """
    if not (root / IMAGES / tracklet).is_dir():
        raise InputError(f"{root / IMAGES / tracklet}/ is missing: the split lists it; copy it there or unlist it")
    files = list(numbered(root / MAPS / tracklet, "*.png").values())
    return [file.stem for file in (files[len(files) // 2 :][:1] if single else files)]
