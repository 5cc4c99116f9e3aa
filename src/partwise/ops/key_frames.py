"""Choice of key frames in a video, and of those that each is encoded with (ATEN section 4, Algorithm 1).

A video is divided into segments of l frames (`interval`) with one key frame each. A key frame is encoded with p others
(`past`), l frames apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Segment(NamedTuple):
    """Frames of a video that share a key frame.

    Attributes:
        frames: positions of the frames in the video.
        key: position of the key frame in the video.
    """

    frames: range
    key: int


def key_place(length: int, centred: bool = True) -> int:
    """Return the position of the key frame in a segment.

    Args:
        length: frames of the segment.
        centred: the key frame is the middle one (the median); otherwise the first.

    Returns:
        position from the segment's start, 0-based.
    """
    return length // 2 if centred else 0


def segments(length: int, interval: int, centred: bool = True) -> list[Segment]:
    """Divide a video into segments.

    Args:
        length: frames of the video.
        interval: l, frames per segment; the last segment may be shorter.
        centred: key frames are the middle ones of their segments; otherwise the first.

    Returns:
        the segments in order.
    """
    starts = range(0, length, interval)
    parts = [range(start, min(start + interval, length)) for start in starts]
    return [Segment(frames, frames.start + key_place(len(frames), centred)) for frames in parts]


def memory(keys: Sequence[int], n: int, past: int, centred: bool = True) -> list[int]:
    """List the p + 1 key frames that key frame `n` of a video is encoded from.

    These are the p earlier ones and itself. If there are fewer than p earlier ones, the p later ones are taken instead.
    If there are too few on both sides, the longer side is taken and its last key frame repeated. With `centred=False`
    no key frame waits for later ones: only earlier ones are taken, the first repeated as needed.

    Args:
        keys: positions of the video's key frames, ascending.
        n: which key frame is encoded, 0-based.
        past: p, number of other key frames encoded with it.
        centred: key frames are the middle ones of their segments; otherwise the first.

    Returns:
        p + 1 positions, farthest first and that of key frame n last.
    """
    later = centred and n < past and len(keys) - 1 - n > n
    steps = range(past, -1, -1)
    return [keys[min(max(n + step if later else n - step, 0), len(keys) - 1)] for step in steps]
