"""Check that texts of compressed RLE are whole: pycocotools reads on beyond one that was cut short."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from partwise.arrays import Int64Array

Row: TypeAlias = dict[str, Any]

#: Characters of RLE that are checked at a time: what is made of them fits a cache.
_TEXT = 1 << 16


def damaged(rows: Sequence[Row]) -> Row | None:
    """Find a row whose RLE does not describe exactly the pixels of its size; pycocotools takes any runs for a mask.

    Args:
        rows: those that are a mask's have `segmentation`: its `size` (height, width) and `counts`.

    Returns:
        one of the damaged rows, None if all are whole.
    """
    rows = [row for row in rows if "segmentation" in row]
    lengths = np.array([len(row["segmentation"]["counts"]) for row in rows], np.int64)
    if not lengths.all():
        return rows[int(lengths.argmin())]
    cuts = np.searchsorted(lengths.cumsum(), np.arange(0, lengths.sum() + _TEXT, _TEXT))
    for low, high in pairwise(np.unique(cuts).tolist()):
        masks = [row["segmentation"] for row in rows[low:high]]
        pixels = np.array([mask["size"][0] * mask["size"][1] for mask in masks], np.int64)
        wrong = _wrong_text(b"".join(mask["counts"] for mask in masks), lengths[low:high], pixels)
        if wrong is not None:
            return rows[int(low) + wrong]
    return None


def _wrong_text(text: bytes, lengths: Int64Array, pixels: Int64Array) -> int | None:
    """Position of a text whose runs are not as many pixels as they should be.

    A run has characters of six bits above 48: five of its value, the lowest first, and whether it goes on; the last
    one's fifth is the sign. From the fourth on, runs are relative to the one but last.

    Args:
        text: all texts, none of them empty.
        lengths: (N,) of the texts.
        pixels: (N,) of their masks.
    """
    bits = np.frombuffer(text, np.uint8) - np.uint8(48)  # what is below 48 ends up above 63
    stops = lengths.cumsum()
    ends = np.flatnonzero(bits < 32)  # last characters of runs
    longer = np.diff(ends, prepend=-1) - 1  # characters of a run but one
    strange = np.flatnonzero(bits > 63)
    unfinished = stops[bits[stops - 1] >= 32] - 1
    for characters in (strange, unfinished, ends[longer > 6]):
        if characters.size:
            return int(np.searchsorted(stops, characters[0], "right"))

    begins = ends - longer
    runs = (bits[begins] & 31).astype(np.int64)
    for n in range(1, int(longer.max()) + 1):
        more = np.flatnonzero(longer >= n)
        runs[more] |= (bits[begins[more] + n] & 31).astype(np.int64) << 5 * n
    runs -= np.where(bits[ends] & 16, 1 << 5 * (longer + 1), 0)

    first = np.searchsorted(ends, stops - lengths)
    count = np.diff(first, append=len(ends))
    sums = np.empty_like(runs)  # of every second run, over all texts
    sums[0::2], sums[1::2] = runs[0::2].cumsum(), runs[1::2].cumsum()
    odd = (np.arange(len(runs)) - np.repeat(first, count)) % 2 == 1
    before = np.where(first > 0, sums[first - 1], 0)
    absolute = sums - np.where(odd, np.repeat(before, count), np.repeat(sums[first], count))
    absolute[first] = runs[first]
    wrong = (np.minimum.reduceat(absolute, first) < 0) | (np.add.reduceat(absolute, first) != pixels)
    return int(wrong.argmax()) if wrong.any() else None
