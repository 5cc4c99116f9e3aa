"""DAVIS by its 2016 protocol: one foreground in every frame. Reads the 2016 and the 2017 release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from data_modules.datasets.clips import AroundClips, frame_at, numbered, read_clip
from data_modules.formats.layout import check_folders, given_ids
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.davis_list import FOLDERS, find_list, read_list
from partwise.io.images import check_size, read_image, read_labels
from partwise.labels import FOREGROUND, IGNORE

#: Published numbers of the 2016 protocol.
PUBLISHED = {"train": {"sequences": 30, "frames": 2079}, "val": {"sequences": 20, "frames": 1376}}

#: Folders of the frames and of their masks.
FRAMES, MASKS = "JPEGImages/480p", "Annotations/480p"

#: More objects than any release numbers in one sequence: larger ids are no ids.
_MOST_OBJECTS = 20


class DAVIS(AroundClips):
    """Frames of DAVIS with their foreground: single pictures, or clips of key frames and the target for ATEN.

    Layout: `JPEGImages/480p/SEQ/%05d.jpg`, `Annotations/480p/SEQ/%05d.png` and `ImageSets/480p/SPLIT.txt` (2016: rows
    of image and mask, masks 0/255) or `ImageSets/2016/SPLIT.txt` (2017: sequence names, masks of object ids). In
    training the frames around a target are drawn; in evaluation they are those of the whole video.

    Args:
        root: folder of the layout.
        split: name of a list, or the sequences themselves.
        transform: makes the training or evaluation clip.
        around: chooses the frames that go with a target; None makes samples single pictures.
        seed: of the draws and the augmentation; None is evaluation.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        sequences: name -> names of its frames, in order.
    """

    label_set = FOREGROUND
    whole_videos = True

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the frames SEQ/ID of all sequences of the split."""
        check_folders(self.root, "DAVIS", (FRAMES, MASKS), "JPEGImages/, Annotations/ and ImageSets/")
        listed = sequences_of(self.root, split) if isinstance(split, str) else {name: [] for name in given_ids(split)}
        self.sequences = {name: frame_names(self.root, name, stems) for name, stems in listed.items()}
        self._places = [(name, t) for name, stems in self.sequences.items() for t in range(len(stems))]
        return [f"{name}/{self.sequences[name][t]}" for name, t in self._places]

    def file(self, index: int) -> Path:
        """Return the path of the frame."""
        return self.frame_file(self.ids[index])

    def frame_file(self, name: str) -> Path:
        """Return the path of frame SEQ/ID."""
        return self.root / FRAMES / f"{name}.jpg"

    def video(self, index: int) -> tuple[int, Mapping[int, Path]]:
        """Return the target's place in its sequence, and place -> file of all frames of the sequence."""
        name, place = self._places[index]
        return place, {t: self.frame_file(f"{name}/{stem}") for t, stem in enumerate(self.sequences[name])}

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the foreground.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts: 0 background, 1 foreground, 255 unknown.
        """
        file = self.root / MASKS / f"{name}.png"
        parts = foreground(read_labels(file), file)
        check_size(parts, size, file)
        return Labels(parts=parts)


class DAVISSequences(Dataset[dict[str, Any]]):
    """Whole sequences, every frame in order (evaluation).

    A sample holds frames (T, 3, H, W) uint8, index, sample_ids (the sequence) and annotations, the T frames' native
    ground truth. T differs, so a batch is one sequence.

    Args:
        frames: the sequences' frames.
    """

    def __init__(self, frames: DAVIS) -> None:
        self.frames, self.ids = frames, list(frames.sequences)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sequence."""
        index = draw[0] if isinstance(draw, tuple) else draw
        names = self._names(index)
        frames = read_clip([self.frames.frame_file(name) for name in names])
        labels = [self.frames.labels(name, frames[0].shape[:2]) for name in names]
        return {
            **self.frames.transform(frames, Labels()),
            "index": index,
            "sample_ids": self.ids[index],
            "annotations": [self.frames.annotation(*pair) for pair in zip(names, labels, strict=True)],
        }

    def picture(self, index: int) -> UInt8Array:
        """Read the first frame (H, W, 3) of a sequence, RGB, at its native size."""
        return read_image(self.frames.frame_file(self._names(index)[0]), upright=False)

    def _names(self, index: int) -> list[str]:
        return [f"{self.ids[index]}/{stem}" for stem in self.frames.sequences[self.ids[index]]]


def sequences_of(root: Path, split: str) -> dict[str, list[str]]:
    """Read the sequences of a split by the 2016 protocol, from either release's list, see `read_list`.

    Args:
        root: folder of the layout.
        split: name of a list.

    Returns:
        Name -> its frames' names; none where the list names the sequence alone (2017).

    Raises:
        InputError: the list is missing or empty, or has a damaged row.
    """
    if file := find_list(root, split):
        return read_list(file)
    there = ", ".join(sorted({file.stem for folder in FOLDERS for file in (root / folder).glob("*.txt")})) or "none"
    raise InputError(
        f"{root}/ImageSets has neither 480p/{split}.txt (2016) nor 2016/{split}.txt (2017); the splits here are "
        f"{there}: name one in data.splits, or list sequences there"
    )


def frame_names(root: Path, sequence: str, listed: Sequence[str] = ()) -> list[str]:
    """List a sequence's frames: from the first listed to the last or, without a list, all there are.

    Args:
        root: folder of the layout.
        sequence: its name.
        listed: names of frames.

    Returns:
        Names in order.

    Raises:
        InputError: the sequence, a listed frame or one between two others is missing.
    """
    frames = numbered(root / FRAMES / sequence)
    if odd := [name for name in listed if not name.isdecimal()]:
        raise InputError(f"{sequence}/{odd[0]} of {root}/ImageSets is not named by its frame's number; mend the list")
    numbers = sorted(int(name) for name in listed) or list(frames)
    return [frame_at(frames, number).stem for number in range(numbers[0], numbers[-1] + 1)]


def foreground(ids: UInt8Array, file: Path) -> UInt8Array:
    """Convert a mask of either release.

    The 2016 release draws the foreground with 255, the 2017 release numbers its objects and leaves out pixels with 255.

    Args:
        ids: (H, W) values of the mask.
        file: source of the mask.

    Returns:
        (H, W) 0 background, 1 foreground, 255 neither.

    Raises:
        InputError: a value is no id of either release.
    """
    seen = set(np.unique(ids).tolist())
    if seen <= {0, IGNORE}:
        mask: UInt8Array = (ids == IGNORE).astype(np.uint8)
        return mask
    if odd := sorted(value for value in seen if _MOST_OBJECTS < value < IGNORE):
        raise InputError(
            f"value {odd[0]} in {file} is neither 0/255 (2016) nor the id of an object (2017); was the mask resized "
            "or saved as a picture? Copy it from the release again"
        )
    return np.where(ids == IGNORE, ids, ids > 0).astype(np.uint8)
