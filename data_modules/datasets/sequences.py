"""Read sequences of frames: any consecutive frames of folders of pictures and of video files."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile, islice, pairwise
from pathlib import Path

import numpy as np

from data_modules.datasets.clips import read_clip
from data_modules.formats.notes import Note
from data_modules.loading import pool
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import IMAGE_SUFFIXES
from partwise.io.video import VIDEO_SUFFIXES, open_video

#: A search that ends too late is begun anew so many frames earlier.
_EARLIER = (0, 30, 300)

#: MPEG program streams stamp some frames only; what is guessed for the others differs after a search.
_GUESSED = (".mpg", ".mpeg")


#: Time stamps of the frames of a video, and what is missing of it in words.
_Frames = tuple[list[int | None], str]


@dataclass(frozen=True)
class FrameFolder:
    """Folder of pictures.

    Attributes:
        name: of the sequence.
        files: in order.
    """

    name: str
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def label(self, frame: int) -> str:
        """Return the name of a frame, for messages and file names."""
        return f"{self.name}/{self.files[frame].stem}"

    def read(self, first: int, count: int) -> list[UInt8Array]:
        """Read consecutive frames.

        Args:
            first: number of the first one, from 0.
            count: number of frames.

        Returns:
            Frames (H, W, 3) RGB, all of one size.
        """
        return read_clip(self.files[first : first + count])


@dataclass(frozen=True)
class VideoFile:
    """Video file.

    Attributes:
        name: of the sequence.
        file: the video.
        stamps: time stamp of each frame; all None where they do not tell the frames apart.
    """

    name: str
    file: Path
    stamps: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.stamps)

    def label(self, frame: int) -> str:
        """Return the name of a frame, for messages and file names."""
        return f"{self.name}/{frame:06d}"

    def read(self, first: int, count: int) -> list[UInt8Array]:
        """Read consecutive frames; no others are held in memory.

        Decoding begins at the key frame before them. A file that cannot be searched is decoded from its beginning.

        Args:
            first: number of the first one, from 0.
            count: number of frames.

        Returns:
            Frames (H, W, 3) RGB.
        """
        frames = self._found(first, count)
        if frames is None:
            with open_video(self.file) as video:
                frames = list(islice(video, first, first + count))
        if len(frames) < count:
            raise InputError(f"{self.file} has become shorter since it was indexed; start anew")
        return frames

    def _found(self, first: int, count: int) -> list[UInt8Array] | None:
        """The frames by their time stamps; None if the search does not lead to them."""
        wanted = self.stamps[first : first + count]
        start = wanted[0]
        if start is None:
            return None
        with open_video(self.file) as video:
            for earlier in _EARLIER:
                goal = self.stamps[max(0, first - earlier)]
                assert goal is not None
                with suppress(InputError):  # a search may end where nothing can be decoded
                    video.seek(goal)
                    onwards = dropwhile(lambda frame: frame.stamp is None or frame.stamp < start, video.frames())
                    found = list(islice(onwards, len(wanted)))
                    if [frame.stamp for frame in found] == list(wanted):
                        return [frame.image for frame in found]
        return None


Source = FrameFolder | VideoFile


def find_sources(base: Path, folder: Path) -> list[Source]:
    """Find all folders with pictures and all video files in a folder, at any depth; hidden ones are left out.

    Args:
        base: folder that names are relative to.
        folder: to search.

    Returns:
        Sequences by name.
    """
    sources: list[Source] = []
    videos: list[Path] = []
    for place, _, names in os.walk(folder, followlinks=True):
        at = Path(place)
        if any(part.startswith(".") for part in at.relative_to(folder).parts):
            continue
        files = [at / name for name in names if not name.startswith(".")]
        pictures = sorted((f for f in files if f.suffix.lower() in IMAGE_SUFFIXES), key=_counted)
        if pictures:
            sources.append(FrameFolder(at.relative_to(base).as_posix(), tuple(pictures)))
        videos += [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    # One process: decoders use all cores themselves.
    pool.run(_count, [file for file in videos if _recall(file) is None], "counting the frames of videos", workers=1)
    sources += [VideoFile(file.relative_to(base).as_posix(), file, tuple(frame_stamps(file))) for file in videos]
    return sorted(sources, key=lambda source: source.name)


def frame_stamps(file: Path) -> list[int | None]:
    """Return the time stamps of the frames of a video, noted in the cache folder or found by decoding all of it.

    All are None where they do not ascend, or some are missing: then frames have to be counted. Of a damaged video those
    frames count that can be decoded; a warning tells what is missing.

    Raises:
        InputError: nothing can be decoded.
    """
    stamps, missing = _recall(file) or _remember(file)
    if missing:
        warnings.warn(missing, stacklevel=2)
    return stamps


def _count(file: Path) -> None:
    _remember(file)


def _remember(file: Path) -> _Frames:
    note, stamps, missing = _note(file), [], ""
    with open_video(file) as video:
        try:
            for frame in video.frames():
                stamps.append(frame.stamp)
        except InputError as error:
            missing = str(error)
    known = [stamp for stamp in stamps if stamp is not None]
    told = known == stamps and all(a < b for a, b in pairwise(known)) and file.suffix.lower() not in _GUESSED
    numbers = np.array(known if told else [0] * len(stamps), np.int64)
    note.write({"stamps": numbers, "told": np.array(told), "missing": np.array(missing)})
    return list(stamps) if told else [None] * len(stamps), missing


def _recall(file: Path) -> _Frames | None:
    """What the cache folder has of a file as it is now."""
    note = _note(file).read()
    if note is None:
        return None
    stamps: list[int | None] = note["stamps"].tolist()
    return stamps if note["told"] else [None] * len(stamps), str(note["missing"])


def _note(file: Path) -> Note:
    return Note("frames", [file])


def _counted(file: Path) -> tuple[int, str]:
    """Frames are numbered: the longer number is the larger one."""
    return len(file.name), file.name
