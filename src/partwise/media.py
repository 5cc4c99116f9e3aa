"""Decode and encode pictures, label maps and video. Every file is written to a temporary name and renamed."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from partwise.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".gif")

#: A frame's time stamp in units of its stream, and the frame (H, W, 3).
_Stamped = tuple[int | None, npt.NDArray[np.uint8]]


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same folder and suffix; rename it to `path` on success, else remove it.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}{path.suffix}")  # hidden: listings leave it out
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with writing(path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with atomic(path) as temporary, writing(path):
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON; NaN and infinities are refused because other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_image(path: str | Path, *, upright: bool = True) -> npt.NDArray[np.uint8]:
    """Decode a picture.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF or PPM file.
        upright: turn the picture as its EXIF orientation says. False for datasets, whose label maps belong to the
            pixels as stored.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is missing, empty, cut short or no picture.
    """
    content = _read_bytes(path)
    if _cut_short(content):
        raise InputError(f"image {path} is cut short ({len(content)} bytes); copy or download it again")
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # larger than OpenCV's limit
        raise InputError(f"image {path} cannot be decoded ({error.err}); make it smaller or leave it out") from error
    if image is None:
        raise InputError(f"{path} is damaged or no image; replace it with a whole JPEG or PNG, or leave it out")
    return image.astype(np.uint8, copy=False)


def read_labels(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a label map: the indices of a palette PNG, the values of a greyscale one.

    Returns:
        (H, W) uint8 ids.

    Raises:
        InputError: as `read_ids`, or an id is above 255.
    """
    ids = _read_map(path)
    if ids.dtype != np.uint8 and ids.size and int(ids.max()) > 255:
        raise InputError(f"{path} holds id {int(ids.max())}, labels end at 255; is it an instance map?")
    return ids.astype(np.uint8, copy=False)


def read_ids(path: str | Path) -> npt.NDArray[np.int32]:
    """Read an instance map of 8 or 16 bits.

    Returns:
        (H, W) int32 ids.

    Raises:
        InputError: the file is missing, empty, damaged, a colour picture or a JPEG.
    """
    return _read_map(path).astype(np.int32)


def _read_map(path: str | Path) -> npt.NDArray[Any]:
    """(H, W) ids as stored."""
    content = _read_bytes(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "JPEG":
                raise InputError(f"{path} is a JPEG, which blurs ids; an index map must be a PNG")
            if image.mode not in ("1", "P", "L", "I", "I;16", "I;16B"):
                raise InputError(
                    f"{path} is a colour picture ({image.mode}), an index map is needed; "
                    "give the PNG whose pixel values are the ids"
                )
            return np.array(image)  # a copy, which may be written to
    # Damaged PNGs surface as SyntaxError and ValueError too.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is damaged or no image ({error}); replace it with a whole PNG") from error


def write_image(path: str | Path, image: npt.NDArray[np.uint8], *, quality: int = 92) -> None:
    """Encode a picture by the suffix of its name.

    Args:
        path: file to write, .jpg or .png.
        image: (H, W, 3) RGB.
        quality: of a JPEG, 0..100.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise InputError(f"{path} does not name an image; end it in .jpg or .png")
    jpeg = suffix in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    write_bytes(path, encoded.tobytes())


def write_labels(path: str | Path, labels: npt.NDArray[Any], colors: npt.NDArray[np.uint8]) -> None:
    """Write an index PNG: 8 bits with a palette, or 16 bits without one if an id is above 255.

    Args:
        path: file to write.
        labels: (H, W) integer ids, 0..65535.
        colors: (256, 3) RGB palette.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"ids {low}..{high} do not fit an index PNG (0..65535)")
    picture = Image.fromarray(labels.astype(np.uint8 if high < 256 else np.uint16))
    if high < 256:
        picture.putpalette(colors.astype(np.uint8).tobytes())
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=4)
    write_bytes(path, encoded.getvalue())


class Video:
    """Frames of a video file, decoded one at a time. Use `open_video`.

    Attributes:
        path: the file.
        fps: frames a second, on average.
        num_frames: as the container states it; None where it does not.
        size: (H, W) of the frames handed out, upright.
    """

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self._container = path, container
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.num_frames: int | None = self._stream.frames or None
        # The first frame is decoded here: only then are rotation and readability known.
        self._frames = self._decode()
        try:
            self._first: _Stamped | None = next(self._frames)
        except StopIteration:
            raise InputError(f"video {path} has no frames; check that it plays, or convert it to MP4") from None
        self.size: tuple[int, int] = self._first[1].shape[:2]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB frames, once.

        Raises:
            InputError: the file is damaged from some frame on.
        """
        return (image for _, image in self.stamped())

    def stamped(self) -> Iterator[_Stamped]:
        """The frames with their time stamps, by which `seek` finds them again; None where the file has none."""
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def seek(self, stamp: int) -> None:
        """Go on at a key frame, mostly the last one at or before `stamp`.

        Files without an index are hard to search: they may go on too late, or where they are.
        """
        with suppress(av.error.FFmpegError, OSError):
            self._container.seek(stamp, stream=self._stream)
            self._first, self._frames = None, self._decode(key=True)

    def _decode(self, *, key: bool = False) -> Iterator[_Stamped]:
        """The frames from here on; with `key` from the first key frame, as those before it lack what they refer to."""
        count, shown, shape = 0, 0.0, dict[str, int]()
        try:
            frames = self._container.decode(self._stream)
            for frame in dropwhile(lambda frame: not frame.key_frame, frames) if key else frames:
                # Streams may change size midway; the pictures and the overlay video do not.
                shape = shape or {"width": frame.width, "height": frame.height}
                image = frame.to_ndarray(format="rgb24", **shape)
                # The display matrix tells counter-clockwise degrees, as np.rot90 counts.
                yield frame.pts, np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
                count, shown = count + 1, float(frame.time or 0)
        except (av.error.FFmpegError, OSError) as error:
            where = f"breaks off after frame {count}" if count else "cannot be decoded"
            raise InputError(f"video {self.path} {where} ({_reason(error)}); repair or convert it") from error
        if count and self._ended_early(count, shown):
            raise InputError(
                f"video {self.path} breaks off after frame {count} of {self.num_frames}; copy or download it again"
            )

    def _ended_early(self, count: int, shown: float) -> bool:
        """Whether the file lacks its end, which the decoder takes for the end of the video.

        Trimmed videos hold frames that are not meant to be shown: count and duration must both fall short.
        """
        duration = float((self._stream.duration or 0) * self._stream.time_base)
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        return count < 0.9 * (self.num_frames or 0) and shown - start < 0.9 * duration - 1 / self.fps


@contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """Open a video for one pass over its frames.

    Raises:
        InputError: the file is missing, unreadable, or has no picture.
    """
    path = Path(path)
    if not path.is_file() or not path.stat().st_size:
        raise InputError(f"video {path} {'is empty' if path.is_file() else 'does not exist'}; check the path")
    try:
        container = av.open(str(path.absolute()))  # absolute: a name such as `a:b.mp4` is no protocol
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} is no readable video ({_reason(error)}); check that it plays") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no video stream; give a file with pictures in it")
        yield Video(path, container)


class VideoWriter:
    """H.264 video (MPEG-4 part 2 where x264 is not built in). No frame written, no file made.

    Use as a context manager; the file appears under its name when the block ends without an error.

    Args:
        path: file to write; its suffix chooses the container.
        fps: frames a second.
        size: (H, W); odd sides are padded by one repeated pixel, which 4:2:0 colour needs.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int]) -> None:
        self.path, self.size = Path(path), size
        self._rate = Fraction(fps).limit_denominator(1001)
        self._exit = ExitStack()
        self._container: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Append an (H, W, 3) uint8 RGB frame."""
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
        # Without these tags players guess the matrix from the size, and colours shift.
        context = self._stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """A full disk or a read-only folder is the user's to mend, not a defect."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"cannot write {path} ({_reason(error)}); free some space or name another folder") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read_bytes(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({_reason(error)}); check the path and its permissions") from error
    if not content:
        raise InputError(f"image {path} is empty (0 bytes); copy or download it again")
    return content


def _cut_short(content: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end.

    Decoders fill what is missing of a JPEG with grey and only warn. An EXIF thumbnail has an end marker of its own, so
    the segments before the picture's first scan are stepped over; bytes after the end are common and harmless.
    """
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content[-64:] and b"IEND" not in content
    if not content.startswith(b"\xff\xd8"):
        return False
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        if content[position + 1] == 0xDA:
            return content.find(b"\xff\xd9", position) < 0
        # Fill bytes and markers without a length are single steps.
        alone = content[position + 1] == 0xFF or 0xD0 <= content[position + 1] <= 0xD8
        step = 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        position += (1 if content[position + 1] == 0xFF else 2) if alone else step
    return position + 4 > len(content)  # a header that merely puzzles us is left to the decoder
