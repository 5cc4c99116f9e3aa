"""Which frames of a video are key frames, and which key frames one is encoded from (ATEN section 4, Algorithm 1).

A video is cut into segments of l frames, `interval`, with one key frame each; a key frame is encoded with p others,
`past`, which lie l apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Segment(NamedTuple):
    """Frames of a video that share a key frame."""

    frames: range
    key: int


def key_place(length: int, centred: bool = True) -> int:
    """Place of the key frame in a segment of `length` frames: the middle (median), or the first one."""
    return length // 2 if centred else 0


def segments(length: int, interval: int, centred: bool = True) -> list[Segment]:
    """A video of `length` frames in segments of l; the last may be shorter."""
    starts = range(0, length, interval)
    parts = [range(start, min(start + interval, length)) for start in starts]
    return [Segment(frames, frames.start + key_place(len(frames), centred)) for frames in parts]


def memory(keys: Sequence[int], n: int, past: int, centred: bool = True) -> list[int]:
    """The p + 1 key frames that key frame n of a whole video is encoded from: farthest first, itself last.

    They are the former ones or, where there are fewer than p, the later ones. A video with too few on both sides takes
    the longer one and repeats its last. Key frames that are not centred wait for none: theirs are the former ones.
    """
    later = centred and n < past and len(keys) - 1 - n > n
    steps = range(past, -1, -1)
    return [keys[min(max(n + step if later else n - step, 0), len(keys) - 1)] for step in steps]
