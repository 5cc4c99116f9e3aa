"""What readers of labelled clips share: one sample from the frames around a labelled one, the target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from data_modules.datasets.images import LabelledImages
from data_modules.loading.sampling import Draw
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import read_image

#: Keeps the draw of the frames apart from that of the augmentation, which follows from the same numbers.
_STREAM = 1


class ClipFiles(NamedTuple):
    """The frames that go with a target, in the order in which a model gets them."""

    files: Sequence[Path]
    offsets: Sequence[int]  # frames from the target to each; negative ones are earlier


class LabelledClips(LabelledImages):
    """Clips whose last frame is the target, the labelled one; single pictures where there is no context.

    Subclasses say where the frames lie. A sample holds frames (T, 3, H, W) uint8, offsets (T,) int64 of the frames
    from the target, whose own is 0, the target's labels, index, sample_ids and perhaps its native annotation. Without
    context it is a single picture's, as `LabelledImages` makes it.
    """

    @abstractmethod
    def file(self, index: int) -> Path:
        """Where the target's picture lies."""

    @abstractmethod
    def clip_files(self, index: int, rng: np.random.Generator) -> ClipFiles | None:
        """The frames that go before the target; None makes the sample a single picture.

        Args:
            index: of the sample.
            rng: of this sample and epoch; in evaluation of this sample alone.
        """

    def picture(self, index: int) -> UInt8Array:
        """The target's picture (H, W, 3), RGB, at its native size."""
        return read_image(self.file(index), upright=False)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One clip, or one picture if there is no context."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        context = self.clip_files(index, np.random.default_rng([self.seed or 0, epoch, index, _STREAM]))
        if context is None:
            return super().__getitem__(draw)
        frames = read_clip([*context.files, self.file(index)])
        return {**self.sample(index, epoch, frames), "offsets": torch.tensor([*context.offsets, 0])}


def read_clip(files: Sequence[Path]) -> list[UInt8Array]:
    """Decode the frames (H, W, 3) of a clip, each file once, however often it occurs.

    Raises:
        InputError: a file cannot be read, or a frame has not the last one's size.
    """
    frames = {file: read_image(file, upright=False) for file in dict.fromkeys(files)}
    height, width = frames[files[-1]].shape[:2]
    for file, frame in frames.items():
        if frame.shape[:2] != (height, width):
            raise InputError(
                f"{file} is {frame.shape[1]}x{frame.shape[0]} but {files[-1]} of the same clip is {width}x{height}; "
                "resize the frames of a video to one size"
            )
    return [frames[file] for file in files]


def numbered(folder: Path, pattern: str = "*.jpg") -> dict[int, Path]:
    """The files of a folder, named by their frame's number, by that number in ascending order.

    Raises:
        InputError: there is no such folder, nothing in it, or a name that is no number.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}/ is missing; it should hold {pattern} named by their frame's number")
    files = [file for file in folder.glob(pattern) if not file.name.startswith(".")]
    if odd := sorted(file for file in files if not file.stem.isdecimal()):
        raise InputError(f"{odd[0]} is not named by its frame's number; rename or remove it")
    if not files:
        raise InputError(f"{folder}/ holds no {pattern}; it should hold them named by their frame's number")
    return {int(file.stem): file for file in sorted(files, key=lambda file: int(file.stem))}


def frame_at(frames: Mapping[int, Path], number: int) -> Path:
    """The file of a frame of a video, whose frames are numbered without gaps.

    Raises:
        InputError: the frame is missing.
    """
    if number not in frames:
        first = next(iter(frames.values()))
        missing = first.with_name(f"{number:0{len(first.stem)}d}{first.suffix}")
        raise InputError(f"{missing} is missing: a clip needs it, as frames are numbered without gaps; copy it there")
    return frames[number]
