"""COCO's masks: their form in json, what pycocotools makes of them, and whether texts of compressed RLE are whole.

pycocotools reads on beyond a text that was cut short.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from partwise.arrays import Int64Array
from partwise.io.boxes import LARGEST

Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
Size: TypeAlias = tuple[int, int]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]

#: Characters of RLE that are checked at a time: what is made of them fits a cache.
_TEXT = 1 << 16


class Rle(msgspec.Struct, gc=False):
    """Mask by the lengths of its runs.

    Attributes:
        size: (height, width) in pixels.
        counts: lengths of the runs down the columns, of background first; or COCO's text of them.
    """

    size: tuple[Side, Side]
    counts: str | list[Count]


Segmentation: TypeAlias = list[Annotated[list[float], msgspec.Meta(min_length=6)]] | Rle


def encode(mask: Segmentation, size: Size) -> dict[str, Any]:
    """Encode a mask as pycocotools wants it.

    Args:
        mask: one or more polygons x, y, x, y, ... that are united, or an RLE; checked.
        size: (height, width) of its image in pixels.

    Returns:
        `size` and `counts`, compressed RLE as bytes.
    """
    if not isinstance(mask, Rle):
        return dict(coco_mask.merge(coco_mask.frPyObjects(mask, *size)))
    if isinstance(mask.counts, str):
        return {"size": list(mask.size), "counts": mask.counts.encode("ascii")}
    return dict(coco_mask.frPyObjects({"size": list(mask.size), "counts": mask.counts}, *size))


def damaged(texts: Sequence[bytes], sizes: Sequence[Size]) -> int | None:
    """Find a compressed RLE that does not describe exactly the pixels of its size; pycocotools takes any for a mask.

    Args:
        texts: counts of the RLEs.
        sizes: (height, width) of each.

    Returns:
        position of one that is damaged, None if all are whole.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    if not lengths.all():
        return int(lengths.argmin())
    pixels = np.array(sizes, np.int64).reshape(-1, 2).prod(1)
    cuts = np.searchsorted(lengths.cumsum(), np.arange(0, lengths.sum() + _TEXT, _TEXT))
    for low, high in pairwise(np.unique(cuts).tolist()):
        wrong = _wrong_text(b"".join(texts[low:high]), lengths[low:high], pixels[low:high])
        if wrong is not None:
            return int(low) + wrong
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
