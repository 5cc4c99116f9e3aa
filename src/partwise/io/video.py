"""Reading and writing of video, one frame at a time."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import chain, dropwhile, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
import numpy as np

from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import atomic, reason, writing
from partwise.io.decoding import Decoder
from partwise.io.listing import warn_once
from partwise.io.shown import Clock, Screen, film

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".gif",
    ".mjpg", ".mjpeg"
)  # fmt: skip

#: Flag of FFmpeg's formats in which parts with other clocks may be joined.
_JOINED = 0x200

#: Largest number of ticks in a second that MPEG-4 part 2 has.
_FINEST = 65535

#: Pixels that a side of H.264 video has at most.
_LONGEST = 16_384

#: Frames per second above which a stated rate, or a guessed one, as of browsers' recordings, is that of the clock.
_FASTEST, _FASTEST_GUESS = 1000, 120

if hasattr(os, "register_at_fork"):
    # FFmpeg's decoders and scalers wait for their threads when they are freed, and a forked process, such as that of a
    # data loader, has none: what the parent left behind must not be collected there.
    os.register_at_fork(after_in_child=gc.freeze)


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stamp: time stamp in units of the stream, which `Video.seek` takes; None if the file has none.
        time: seconds from the start of the file at which it is shown; until a `Video.seek`.
        duration: seconds for which it is shown.
    """

    image: UInt8Array
    stamp: int | None
    time: Fraction
    duration: Fraction


class Video:
    """The frames of a video file as a player shows them, decoded one at a time; made by `open_video`.

    Frames are upright, mirrored if the file says so, have square pixels and one size. What cannot be decoded is passed
    over, and told after the last frame.

    Args:
        path: the file.
        container: PyAV's open container.
        stream: the container's video stream to decode.

    Attributes:
        path: the file.
        fps: frames per second, on average.
        clock: seconds per unit of the file's time stamps.
        num_frames: number of frames as the container states it; None if it does not.
        size: (H, W) of the frames.

    Raises:
        InputError: the video has no frames, or none can be decoded.
    """

    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self.path, self._container, self._stream = path, container, stream
        stream.thread_type = "AUTO"
        rates = ((stream.average_rate, _FASTEST), (stream.guessed_rate, _FASTEST_GUESS))
        self._rate = next((Fraction(rate) for rate, most in rates if rate and rate <= most), Fraction(25))
        self.fps, self.clock = float(self._rate), Fraction(stream.time_base)
        self.num_frames: int | None = stream.frames or None
        self._screen: Screen | None = None
        self._frames = self._decode(key=False)
        self._first = next(self._frames, None)  # tells whether the video can be decoded, and how it is turned
        if self._first is None:  # and nothing was damaged, which would have been raised
            raise InputError(f"video {path} has no frames; check that it plays, or convert it to MP4")
        self.size: tuple[int, int] = self._first.image.shape[:2]

    def __iter__(self) -> Iterator[UInt8Array]:
        """Yield each frame (H, W, 3) uint8 RGB once.

        Raises:
            InputError: after the last frame, if some are missing.
        """
        return (frame.image for frame in self.frames())

    def frames(self) -> Iterator[Frame]:
        """Yield each frame once.

        Raises:
            InputError: after the last frame, if some are missing.
        """
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def seek(self, stamp: int) -> None:
        """Continue at a key frame, usually the last one at or before `stamp`; missing frames are no longer told.

        Files without an index are hard to search: they may continue too late, or at the present frame.

        Args:
            stamp: time stamp in units of the stream, as `frames` yields it.
        """
        with suppress(av.error.FFmpegError, OSError):
            self._container.seek(stamp, stream=self._stream)
            self._first, self._frames = None, self._decode(key=True)

    def _decode(self, *, key: bool) -> Iterator[Frame]:
        """Yield the frames from here on; with `key` from the first key frame on, as others may need missing frames."""
        decoder = Decoder(self._container, self._stream)
        decoded = decoder.frames()
        if key:
            decoded = dropwhile(lambda frame: not frame.key_frame, decoded)
        start = Fraction(self._container.start_time or 0, av.time_base)
        clock = Clock(self.clock, start, 1 / self._rate, bool(self._container.format.flags & _JOINED))
        shown = (self._show(frame, clock) for frame in decoded)
        together = 0
        for frame, after in pairwise(chain(shown, [None])):
            assert frame is not None
            together += after is not None and after.time == frame.time
            yield frame if after is None else frame._replace(duration=after.time - frame.time)
        if together:
            warn_once(
                f"video {self.path}: {together} frames are timed no later than the frame before; times may be wrong"
            )
        missing = "" if key else decoder.missing()
        if missing:
            raise InputError(f"video {self.path}: {missing}; repair it, or copy or download it again")

    def _show(self, frame: Any, clock: Clock) -> Frame:
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        self._screen = self._screen or Screen(frame, Fraction(aspect or 1))
        time = clock.show(frame.dts if frame.pts is None else frame.pts)
        duration = getattr(frame, "duration", None)  # PyAV before 15 does not tell
        return Frame(self._screen.show(frame), frame.pts, time, duration * self.clock if duration else 1 / self._rate)


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
        # Absolute, so that `a:b.mp4` is not taken for a protocol; titles that are no UTF-8 do not matter.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} is no readable video ({reason(error)}); check that it plays") from error
    with container:
        stream = film(container.streams.video)
        if stream is None:
            if any(stream.codec_context is None for stream in container.streams.video):
                raise InputError(f"{path} is coded in a way that cannot be decoded; convert it to MP4 with H.264")
            cover = " but a cover" if container.streams.video else ""
            raise InputError(f"{path} has no video stream{cover}; give a file with pictures in it")
        yield Video(path, container, stream)


class VideoWriter:
    """Writer of H.264 video, or of MPEG-4 part 2 if PyAV has no x264.

    Use as a context manager. The file appears under its name when the block ends without an error; without frames no
    file is written.

    Args:
        path: file to write; its suffix chooses the container.
        fps: frames per second.
        size: (H, W); odd sides are padded by one repeated pixel, which 4:2:0 colour needs. Frames that are longer
            than H.264 allows are made smaller, with a warning.
        clock: unit in seconds of the times of frames, if `write` is given them; None for a constant rate.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int], clock: Fraction | None = None) -> None:
        self.path, self.size = Path(path), size
        self._rate = Fraction(fps).limit_denominator(1001)
        self._clock = clock if clock is None or clock.denominator <= _FINEST else Fraction(1, 60000)
        self._next = 0  # the earliest time of the next frame, in units of the clock
        self._durations = dict[int, int]()  # of the frames in the encoder, by their times
        self._exit = ExitStack()
        self._container: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: UInt8Array, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            time: seconds at which it is shown, if the writer has a clock; of equal times the later one is moved.
            duration: seconds for which it is shown, if the writer has a clock.

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
            size = self._stream.width, self._stream.height
            picture = picture.reformat(*size, format="yuv420p", dst_colorspace="ITU709")
            if self._clock is not None and time is not None and duration is not None:
                picture.time_base, picture.pts = self._clock, max(round(time / self._clock), self._next)
                self._next = picture.pts + 1
                self._durations[picture.pts] = round(duration / self._clock)
            self._encode(picture)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._container is not None:
                with writing(self.path):
                    if error is None:
                        self._encode(None)
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
        if self._clock is not None and codec == "libx264":
            quality["bf"] = "0"  # in order of time, so that MP4 states the length of the last frame
        self._stream: Any = self._container.add_stream(codec, rate=self._rate, options=quality)
        scale = min(1, _LONGEST / max(self.size))
        if scale < 1:
            warn_once(f"{self.path} is made smaller than its frames: a video has {_LONGEST} pixels a side at most")
        height, width = (max(1, round(scale * side)) for side in self.size)
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = "yuv420p"
        # Without these tags players guess the colour matrix from the size, and colours shift.
        context = self._stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        if self._clock is not None:
            context.time_base = self._clock

    def _encode(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)
