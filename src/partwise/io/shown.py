"""What a player shows of a video: which stream, which way up, in which proportions, and when."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from partwise.arrays import UInt8Array

#: Pixels whose sides differ by more than this factor are a defect of the file.
_MOST_OBLONG = 8

#: Transfer characteristics of high dynamic range, PQ and HLG (ITU-T H.273, table 3).
_HDR = (16, 18)

#: Seconds back or, in streams that may be joined anywhere, ahead, from which on a clock was set anew.
_BACK, _AHEAD = 1, 10


def film(streams: Iterable[Any]) -> Any:
    """Choose the stream that a player shows: no cover and no thumbnails; the default one, then the largest one.

    Args:
        streams: PyAV's video streams of a file.

    Returns:
        the stream; None if none of them is a film that can be decoded.
    """
    films = [s for s in streams if s.codec_context is not None and not _marked(s, "attached_pic", "timed_thumbnails")]
    return max(films, key=lambda s: (_marked(s, "default"), s.width * s.height), default=None)


def _marked(stream: Any, *marks: str) -> bool:
    return any(getattr(type(stream.disposition), mark) in stream.disposition for mark in marks)


class Screen:
    """Turns decoded frames into RGB as a player shows them: upright, with square pixels, all of one size.

    Args:
        first: PyAV's first frame; later ones of other proportions get black bars.
        aspect: width of a pixel divided by its height.

    Attributes:
        size: (H, W) of all frames.
    """

    def __init__(self, first: Any, aspect: Fraction) -> None:
        oblong = max(aspect, 1 / aspect) if aspect > 0 else _MOST_OBLONG + 1
        self._aspect = aspect if oblong <= _MOST_OBLONG else Fraction(1)
        self._seen: tuple[int, int, int] | None = None
        self._turn = (False, 1, 1)
        self._converter = VideoReformatter()  # kept: that for high dynamic range takes seconds to make
        self._look(first)
        self.size = self._upright_size(first)

    def show(self, frame: Any) -> UInt8Array:
        """Convert a frame to (H, W, 3) uint8 RGB of `size`; transparency is ignored, as in pictures."""
        self._look(frame)
        size, (swap, down, across) = self._upright_size(frame), self._turn
        scale = min(Fraction(self.size[0], size[0]), Fraction(self.size[1], size[1]))
        height, width = (max(1, round(side * scale)) for side in size)
        coded = (height, width) if swap else (width, height)
        image = self._converter.reformat(frame, *coded, "rgb24", **_tones(frame)).to_ndarray()
        image = (image.swapaxes(0, 1) if swap else image)[::down, ::across]
        if image.shape[:2] != self.size:
            top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
            canvas = np.zeros((*self.size, 3), np.uint8)
            canvas[top : top + height, left : left + width] = image
            return canvas
        return np.ascontiguousarray(image)

    def _look(self, frame: Any) -> None:
        """Read the orientation where it may have changed: a frame whose side data are read lives on until collected."""
        seen = frame.width, frame.height, frame.rotation
        if seen != self._seen:
            self._seen, self._turn = seen, _orientation(frame)

    def _upright_size(self, frame: Any) -> tuple[int, int]:
        """Scale up, never down, so that no detail is lost."""
        height = round(frame.height / min(self._aspect, 1))
        width = round(frame.width * max(self._aspect, 1))
        return (width, height) if self._turn[0] else (height, width)


def _orientation(frame: Any) -> tuple[bool, int, int]:
    """Read the display matrix: whether to exchange the axes first, then the steps, 1 or -1, along height and width.

    The matrix [a b u; c d v; x y w] takes a row vector (x, y, 1) of a pixel to where it is shown (ISO/IEC 14496-12). It
    may mirror; PyAV's `rotation` does not tell that.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, 1, 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    swap = abs(b) + abs(c) > abs(a) + abs(d)
    down, across = (b, c) if swap else (d, a)
    return swap, -1 if down < 0 else 1, -1 if across < 0 else 1


def _tones(frame: Any) -> dict[str, int]:
    """Ask for the tones and colours of a usual screen where a frame has more; PyAV before 17 knows no other tones."""
    if getattr(frame, "color_trc", None) not in _HDR:
        return {}
    return {"dst_color_trc": 1, "dst_color_primaries": 1}  # ITU-R BT.709


class Clock:
    """Tells when frames are shown, in seconds from the start of the file; frames never go back in time.

    Args:
        unit: seconds per unit of time stamps.
        start: seconds at which the file starts.
        step: seconds from a frame to the next one where time stamps do not tell.
        joined: parts with other clocks may follow one another, as in broadcasts.
    """

    def __init__(self, unit: Fraction, start: Fraction, step: Fraction, joined: bool) -> None:
        self._unit, self._start, self._step, self._joined = unit, start, step, joined
        self._last: Fraction | None = None

    def show(self, stamp: int | None) -> Fraction:
        """Return the time of the next frame.

        Args:
            stamp: its time stamp; None if the file has none.
        """
        following = Fraction(0) if self._last is None else self._last + self._step
        time = following if stamp is None else stamp * self._unit - self._start
        if self._set_anew(time):
            self._start += time - following
            time = following
        self._last = time if self._last is None else max(time, self._last)
        return self._last

    def _set_anew(self, time: Fraction) -> bool:
        if self._last is None:
            return time < 0
        return time < self._last - _BACK or (self._joined and time > self._last + _AHEAD)
