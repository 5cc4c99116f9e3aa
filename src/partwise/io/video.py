"""Reading and writing of video, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import atomic, reason, writing

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".gif")

#: A frame's time stamp in units of its stream, and the frame (H, W, 3).
_Stamped = tuple[int | None, UInt8Array]


class Video:
    """The frames of a video file, decoded one at a time; made by `open_video`.

    Args:
        path: the file.
        container: PyAV's open container.

    Attributes:
        path: the file.
        fps: frames per second, on average.
        num_frames: number of frames as the container states it; None if it does not.
        size: (H, W) of the decoded frames, upright.

    Raises:
        InputError: the video has no frames, or the first one cannot be decoded.
    """

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self._container = path, container
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.num_frames: int | None = self._stream.frames or None
        # Rotation and readability are known once the first frame is decoded.
        self._frames = self._decode()
        try:
            self._first: _Stamped | None = next(self._frames)
        except StopIteration:
            raise InputError(f"video {path} has no frames; check that it plays, or convert it to MP4") from None
        self.size: tuple[int, int] = self._first[1].shape[:2]

    def __iter__(self) -> Iterator[UInt8Array]:
        """Yield each frame (H, W, 3) uint8 RGB once.

        Raises:
            InputError: the file is damaged from some frame on.
        """
        return (image for _, image in self.stamped())

    def stamped(self) -> Iterator[_Stamped]:
        """Yield each frame once with its time stamp, which `seek` takes.

        Yields:
            time stamp in units of the stream, None if the file has none; frame (H, W, 3) uint8 RGB.

        Raises:
            InputError: the file is damaged from some frame on.
        """
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def seek(self, stamp: int) -> None:
        """Continue at a key frame, usually the last one at or before `stamp`.

        Files without an index are hard to search: they may continue too late, or at the present frame.

        Args:
            stamp: time stamp in units of the stream, as `stamped` yields it.
        """
        with suppress(av.error.FFmpegError, OSError):
            self._container.seek(stamp, stream=self._stream)
            self._first, self._frames = None, self._decode(key=True)

    def _decode(self, *, key: bool = False) -> Iterator[_Stamped]:
        """Yield the frames from here on; with `key` from the first key frame on, as others may need missing frames."""
        count, shown, shape = 0, 0.0, dict[str, int]()
        try:
            frames = self._container.decode(self._stream)
            for frame in dropwhile(lambda frame: not frame.key_frame, frames) if key else frames:
                # Streams may change size midway; the frames handed out keep one size.
                shape = shape or {"width": frame.width, "height": frame.height}
                image = frame.to_ndarray(format="rgb24", **shape)
                # The display matrix has counter-clockwise degrees, as has np.rot90.
                yield frame.pts, np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
                count, shown = count + 1, float(frame.time or 0)
        except (av.error.FFmpegError, OSError) as error:
            where = f"breaks off after frame {count}" if count else "cannot be decoded"
            raise InputError(f"video {self.path} {where} ({reason(error)}); repair or convert it") from error
        if count and self._ended_early(count, shown):
            raise InputError(
                f"video {self.path} breaks off after frame {count} of {self.num_frames}; copy or download it again"
            )

    def _ended_early(self, count: int, shown: float) -> bool:
        """Check whether the file lacks its end, which the decoder takes for the end of the video.

        Trimmed videos hold frames that are not meant to be shown, so both count and duration must fall short.
        """
        duration = float((self._stream.duration or 0) * self._stream.time_base)
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        return count < 0.9 * (self.num_frames or 0) and shown - start < 0.9 * duration - 1 / self.fps


@contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """Open a video for one pass over its frames.

    Args:
        path: the file.

    Yields:
        the video.

    Raises:
        InputError: the file is missing, unreadable, or has no picture.
    """
    path = Path(path)
    if not path.is_file() or not path.stat().st_size:
        raise InputError(f"video {path} {'is empty' if path.is_file() else 'does not exist'}; check the path")
    try:
        container = av.open(str(path.absolute()))  # absolute, so that `a:b.mp4` is not taken for a protocol
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} is no readable video ({reason(error)}); check that it plays") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no video stream; give a file with pictures in it")
        yield Video(path, container)


class VideoWriter:
    """Writer of H.264 video, or of MPEG-4 part 2 if PyAV has no x264.

    Use as a context manager. The file appears under its name when the block ends without an error; without frames no
    file is written.

    Args:
        path: file to write; its suffix chooses the container.
        fps: frames per second.
        size: (H, W); odd sides are padded by one repeated pixel, which 4:2:0 colour needs.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int]) -> None:
        self.path, self.size = Path(path), size
        self._rate = Fraction(fps).limit_denominator(1001)
        self._exit = ExitStack()
        self._container: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: UInt8Array) -> None:
        """Append a frame (H, W, 3) uint8 RGB.

        Raises:
            InputError: the file cannot be written.
            ValueError: the frame has another size than the video.
        """
        if frame.shape != (*self.size, 3):
            raise ValueError(f"frame {frame.shape} in a video of {(*self.size, 3)}")
        with writing(self.path):
            if self._container is None:
                self._open()
            if self.size[0] % 2 or self.size[1] % 2:
                frame = np.pad(frame, ((0, self.size[0] % 2), (0, self.size[1] % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
            self._container.mux(self._stream.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._container is not None:
                with writing(self.path):
                    if error is None:
                        self._container.mux(self._stream.encode())
                    self._container.close()
        except BaseException as closing:
            self._exit.__exit__(type(closing), closing, closing.__traceback__)
            raise
        self._exit.__exit__(kind, error, trace)

    def _open(self) -> None:
        temporary = self._exit.enter_context(atomic(self.path))
        options = {"movflags": "+faststart"} if self.path.suffix in (".mp4", ".m4v", ".mov") else {}
        self._container = av.open(str(temporary.absolute()), "w", options=options)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        quality = {"preset": "veryfast", "crf": "20"} if codec == "libx264" else {"qscale": "3"}
        self._stream: Any = self._container.add_stream(codec, rate=self._rate, options=quality)
        self._stream.height, self._stream.width = (side + side % 2 for side in self.size)
        self._stream.pix_fmt = "yuv420p"
        # Without these tags players guess the colour matrix from the size, and colours shift.
        context = self._stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
