"""Detect which of the two class orders of Pascal-Person-Part that circulate a folder of label maps uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partwise.arrays import Int64Array, UInt8Array
from partwise.errors import InputError
from partwise.io.images import read_labels
from partwise.labels import PASCAL_PERSON_PART, remap_table

#: Name of an order -> (256,) table from the ids stored to the official ones.
ORDERS = {
    "official": remap_table({i: i for i in range(7)}),
    "bupt": remap_table({0: 0, 1: 4, 2: 1, 3: 5, 4: 2, 5: 6, 6: 3}),
}

#: Parts that are joined on a body, by official id.
_JOINTS = (("head", "torso"), ("torso", "upper-arms"), ("upper-arms", "lower-arms"), ("torso", "upper-legs"),
           ("upper-legs", "lower-legs"))  # fmt: skip

#: Maps that are looked at, and how many of them must speak for the other order: a few odd poses prove nothing.
_MAPS, _LEAST = 40, 3


def order_table(order: str) -> UInt8Array:
    """Return the table (256,) from stored ids to official ones; raise InputError for an order not in `ORDERS`."""
    if order not in ORDERS:
        raise InputError(f"data.class_order={order} is not known; it is one of {', '.join(ORDERS)}")
    return ORDERS[order]


def check_order(files: Sequence[Path], order: str) -> None:
    """Check that label maps do not plainly use the other class order.

    Parts that are joined on a body share most of the borders between parts, in any pose. The order under which more
    borders of a map are joints is therefore the likelier one. Up to 40 maps, evenly spread, have a vote each.

    Args:
        files: indexed PNGs.
        order: key of `ORDERS` that the maps should use.

    Raises:
        InputError: they do: three votes or more are for the other order, and more than twice as many as for `order`. Or
            a map cannot be read.
    """
    spread = files[:: max(1, len(files) // _MAPS)][:_MAPS]
    votes = [likelier_order(read_labels(file)) for file in spread]
    (other,) = ORDERS.keys() - {order}
    if votes.count(other) >= max(_LEAST, 2 * votes.count(order) + 1):
        whose = "the order of the BUPT repackaging (1 = lower arms)" if other == "bupt" else "the official order"
        raise InputError(
            f"the label maps in {files[0].parent} have their classes in {whose}, as {votes.count(other)} of the "
            f"{len(spread)} looked at show; set data.class_order={other}"
        )


def likelier_order(stored: UInt8Array) -> str | None:
    """Return the order under which more borders of a label map (H, W) are joints; None if both have as many."""
    counts = _borders(stored)
    joined = np.zeros((7, 7), np.int64)
    for pair in _JOINTS:
        a, b = (PASCAL_PERSON_PART.id_of(part) for part in pair)
        joined[a, b] = joined[b, a] = 1
    fits = {name: int((counts * joined[np.ix_(table[:7], table[:7])]).sum()) for name, table in ORDERS.items()}
    official, bupt = fits["official"], fits["bupt"]
    return None if official == bupt else "official" if official > bupt else "bupt"


def _borders(stored: UInt8Array) -> Int64Array:
    """(7, 7) pairs of neighbouring pixels by their two different ids, background and ids above 6 left out."""
    counts = np.zeros((7, 7), np.int64)
    for a, b in ((stored[1:], stored[:-1]), (stored[:, 1:], stored[:, :-1])):
        between = (a != b) & (a > 0) & (b > 0) & (a < 7) & (b < 7)
        np.add.at(counts, (a[between], b[between]), 1)
    return counts
