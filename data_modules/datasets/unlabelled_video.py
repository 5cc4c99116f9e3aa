"""Read windows of consecutive frames of any video, and JHMDB's with the joints of the person in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from data_modules.datasets.sequences import Source, find_sources
from data_modules.formats.layout import given_ids
from data_modules.formats.mat import read_mat
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import Float32Array
from partwise.errors import InputError
from partwise.io.boxes import fault_of_points
from partwise.io.listing import hidden
from partwise.labels import FOREGROUND

#: Folders under which the sequences of PoseTrack18 and of JHMDB lie.
_FRAMES = ("images", "Rename_Images")
_STAGES = ("train", "val", "test")

#: JHMDB's joints and their (left, right) rows.
JHMDB_JOINTS = (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
)  # fmt: skip
JHMDB_KEYPOINT_PAIRS = ((4, 3), (6, 5), (8, 7), (10, 9), (12, 11), (14, 13))


class UnlabelledVideo(Dataset[dict[str, Any]]):
    """Windows of an odd number of consecutive frames.

    Layout: folders of pictures and video files at any depth; the frames of a folder are numbered. If `images/`
    (PoseTrack18: images/SPLIT/SEQ/*.jpg) or `Rename_Images/` (JHMDB: Rename_Images/ACTION/VIDEO/*.png) is there and
    holds folders, the sequences are those in it. Sequences with fewer frames than a window are left out.

    A split is a folder of that name there; "all" takes everything, and so does every one of train, val and test where
    none of the three exists.

    Args:
        root: folder of the layout.
        split: name of a split, or sequences by their path below the frames.
        transform: makes the training or evaluation clip.
        window: frames of a sample, odd.
        stride: frames from one window to the next.
        seed: of the augmentation; None does none.
    """

    label_set = FOREGROUND  # there are no labels that a flip could exchange

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        window: int = 3,
        stride: int = 1,
        seed: int | None = None,
    ) -> None:
        if window < 1 or window % 2 == 0 or stride < 1:
            raise InputError(f"data.window={window} must be odd and data.stride={stride} at least 1")
        self.root, self.transform, self.window, self.stride, self.seed = root, transform, window, stride, seed
        found = find_split(root, split)
        self.sources = [source for source in found if len(source) >= window]
        if not self.sources:
            raise InputError(
                f"{root}: none of the {len(found)} sequences of split {split} has {window} frames; point data.root at "
                "a folder with videos or folders of frames, or lower data.window"
            )
        counts = [(len(source) - window) // stride + 1 for source in self.sources]
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One window: frames (window, 3, H, W) uint8, sizes, index and sample_ids, which names its middle frame."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        source, first = self._window(index)
        middle = first + self.window // 2
        frames = source.read(first, self.window)
        seed = None if self.seed is None else (self.seed, epoch, index)
        clip = self.transform(frames, self.labels(source, middle), seed=seed)
        return {**clip, "sizes": frames[0].shape[:2], "index": index, "sample_ids": source.label(middle)}

    def labels(self, source: Source, frame: int) -> Labels:
        """Return no labels; subclasses may know some.

        Args:
            source: the sequence.
            frame: number of the frame.

        Returns:
            Labels of the frame.
        """
        return Labels()

    def _window(self, index: int) -> tuple[Source, int]:
        """Sequence and first frame of a window."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        n = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.sources[n], int(index - self._starts[n]) * self.stride


class JHMDB(UnlabelledVideo):
    """JHMDB's windows with the joints (1, 15, 3) of their middle frame, rows as `JHMDB_JOINTS` (evaluation).

    Layout: as `UnlabelledVideo`, with `joint_positions/ACTION/VIDEO/joint_positions.mat` beside `Rename_Images/`:
    `pos_img` (2, 15, T), pixels counted from 1; the keypoints here count from 0. All are taken to be visible.

    Args:
        root: folder of the layout.
        split: name of a split, or sequences by their path below the frames.
        transform: makes the training or evaluation clip.
        window: frames of a sample, odd.
        stride: frames from one window to the next.
        seed: of the augmentation; None does none.
    """

    def labels(self, source: Source, frame: int) -> Labels:
        """Read the joints of a frame.

        Args:
            source: the sequence.
            frame: number of the frame.

        Returns:
            Keypoints (1, 15, 3).
        """
        file = self.root / "joint_positions" / source.name / "joint_positions.mat"
        joints = read_joints(file)
        if len(joints) != len(source):
            raise InputError(f"{file} has {len(joints)} frames, {source.name} has {len(source)}; copy both again")
        return Labels(keypoints=joints[frame : frame + 1])


def read_joints(file: Path) -> Float32Array:
    """Read the joints (T, 15, 3) of a JHMDB clip, counted from 0, visibility 2.

    Raises:
        InputError: the file is missing, damaged or holds something else.
    """
    places = np.asarray(read_mat(file, "pos_img"))
    if places.ndim == 2:  # of a single frame
        places = places[..., None]
    if places.ndim != 3 or places.shape[:2] != (2, len(JHMDB_JOINTS)) or places.dtype.kind not in "fiu":
        raise InputError(f"{file}: pos_img is {places.shape}, not (2, 15, frames); download it again")
    if fault := fault_of_points(places):
        raise InputError(f"{file}: a joint {fault}; download it again")
    joints = np.full((places.shape[2], len(JHMDB_JOINTS), 3), 2, np.float32)
    joints[..., :2] = places.transpose(2, 1, 0) - 1
    return joints


def find_split(root: Path, split: str | Sequence[str]) -> list[Source]:
    """Find the sequences of a split.

    Args:
        root: folder of the layout.
        split: name of a split, or sequences by their path below the frames.

    Returns:
        Sequences by name.

    Raises:
        InputError: there is no such split or sequence.
    """
    base = next((root / name for name in _FRAMES if _holds_folders(root / name)), root)
    if not isinstance(split, str):
        wanted = given_ids(split)
        found = {source.name: source for source in find_sources(base, base)}
        if missing := [name for name in wanted if name not in found]:
            raise InputError(f"{base} has no sequence {missing[0]}; it has {', '.join(list(found)[:5]) or 'none'} ...")
        return [found[name] for name in wanted]
    present = [name for name in _STAGES if (base / name).is_dir()]
    if split == "all" or (split in _STAGES and not present):
        return find_sources(base, base)
    if not (base / split).is_dir():
        folders = ", ".join(sorted(p.name for p in base.iterdir() if p.is_dir() and not hidden(p.name))[:8]) or "none"
        raise InputError(f"{base / split} is missing; the splits here are: all, {folders}")
    return find_sources(base, base / split)


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and any(p.is_dir() and not hidden(p.name) for p in folder.iterdir())
