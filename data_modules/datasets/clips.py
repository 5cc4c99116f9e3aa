"""Make samples of labelled clips from a labelled frame, the target, and frames around it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from data_modules.datasets.images import LabelledImages
from data_modules.loading.contexts import Around
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import read_image

#: Keeps the draw of the frames apart from that of the augmentation, which follows from the same numbers.
_STREAM = 1


class ClipFiles(NamedTuple):
    """Files and offsets of the frames that go with a target, in the network's order."""

    files: Sequence[Path]
    offsets: Sequence[int]  # frames from the target to each; negative ones are earlier


class LabelledClips(LabelledImages):
    """Clips whose last frame is the target, the labelled one; single pictures where there are no others.

    A sample holds frames (T, 3, H, W) uint8, offsets (T,) int64 of the frames from the target, whose own is 0, the
    target's labels, index, sample_ids and perhaps its native annotation. Without other frames it is a single picture's,
    as `LabelledImages` makes it.

    Args:
        root: folder of the layout.
        split: name of a split, or the ids themselves.
        transform: makes the training or evaluation clip.
        seed: of the draws and the augmentation; None is evaluation.
        annotations: whether samples have the native ground truth (evaluation).
    """

    @abstractmethod
    def file(self, index: int) -> Path:
        """Return the path of the target's picture."""

    @abstractmethod
    def clip_files(self, index: int, rng: np.random.Generator) -> ClipFiles | None:
        """Choose the frames that go before the target.

        Args:
            index: of the sample.
            rng: of this sample and epoch; in evaluation of this sample alone.

        Returns:
            Their files and offsets; None makes the sample a single picture.
        """

    def picture(self, index: int) -> UInt8Array:
        """Read the target's picture (H, W, 3), RGB, at its native size."""
        return read_image(self.file(index), upright=False)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One clip, or one picture if there is no context."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        context = self.clip_files(index, np.random.default_rng([self.seed or 0, epoch, index, _STREAM]))
        if context is None:
            return super().__getitem__(draw)
        frames = read_clip([*context.files, self.file(index)])
        return {**self.sample(index, epoch, frames), "offsets": torch.tensor([*context.offsets, 0])}


class AroundClips(LabelledClips):
    """Clips whose other frames an `Around` chooses; single pictures without one.

    Args:
        root: folder of the layout.
        split: name of a split, or the ids themselves.
        transform: makes the training or evaluation clip.
        around: chooses the frames that go with a target; None makes samples single pictures.
        seed: of the draws and the augmentation; None is evaluation.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        whole_videos: whether a target is among all frames of its video, whose segments evaluation can follow.
    """

    whole_videos: ClassVar[bool] = False

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        around: Around | None = None,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.around = around
        super().__init__(root, split, transform, seed=seed, annotations=annotations)

    @abstractmethod
    def video(self, index: int) -> tuple[int, Mapping[int, Path]]:
        """Find the frames among which those around a target are chosen.

        Args:
            index: of the sample.

        Returns:
            Number of the target; number -> file of all frames there are, itself included, from 0 for whole videos.
        """

    def clip_files(self, index: int, rng: np.random.Generator) -> ClipFiles | None:
        """Choose the frames around the target with `around`.

        Args:
            index: of the sample.
            rng: of this sample and epoch; in evaluation of this sample alone.

        Returns:
            Their files and offsets; None without `around`.

        Raises:
            InputError: too few frames exist.
        """
        if self.around is None:
            return None
        target, frames = self.video(index)
        if self.seed is not None:
            chosen = self.around.draw(rng, target, frames)
        elif self.whole_videos:
            chosen = self.around.of_video(target, len(frames))
        else:
            chosen = self.around.score(rng, target, frames)
        if not chosen:
            raise InputError(
                f"{self.root} lacks frames around {self.ids[index]} for {self.around}; copy the missing ones there, or "
                "lower those numbers in data.around"
            )
        return ClipFiles([frames[number] for number in chosen], [number - target for number in chosen])


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
    """List the files of a folder that are named by their frame's number.

    Args:
        folder: of the frames.
        pattern: of the file names; hidden files are left out.

    Returns:
        Number -> file, in ascending order.

    Raises:
        InputError: the folder is missing or empty, or a name is no number.
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
    """Return the file of a frame of a video, whose frames are numbered without gaps.

    Args:
        frames: number -> file.
        number: of the frame.

    Returns:
        The file.

    Raises:
        InputError: the frame is missing.
    """
    if number not in frames:
        first = next(iter(frames.values()))
        missing = first.with_name(f"{number:0{len(first.stem)}d}{first.suffix}")
        raise InputError(f"{missing} is missing: a clip needs it, as frames are numbered without gaps; copy it there")
    return frames[number]
