"""Label sets: class names, left/right pairs, colours, and the tables that map one set to another.

Ids are those stored in each dataset's label PNGs; 0 is background and 255 is ignored everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from partwise.arrays import IntArray, UInt8Array
from partwise.errors import InputError

IGNORE = 255


@dataclass(frozen=True)
class LabelSet:
    """The classes of one dataset.

    Attributes:
        name: short name, as used in configs and checkpoints.
        names: class names; index is the id, index 0 is background.
        pairs: (left, right) ids that a horizontal flip exchanges.
    """

    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check the names and the pairs.

        Raises:
            ValueError: two classes have one name; or pairs overlap, or hold an id that is no class.
        """
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(f"label set {self.name}: {', '.join(twice)} names several classes; give each its own name")
        paired = [i for pair in self.pairs for i in pair]
        if len(set(paired)) != len(paired) or not all(0 < i < len(self.names) for i in paired):
            raise ValueError(f"label set {self.name}: pairs {self.pairs} overlap or leave 1..{len(self.names) - 1}")

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.names)

    @cached_property
    def flip_table(self) -> UInt8Array:
        """Table (256,) from each id to its id under a horizontal flip."""
        table = np.arange(256, dtype=np.uint8)
        for left, right in self.pairs:
            table[left], table[right] = right, left
        return table

    @cached_property
    def colors(self) -> UInt8Array:
        """PASCAL VOC's colour map (256, 3) RGB, as in the field's label PNGs; `viz.palette` is easier to look at."""
        return voc_colors()

    def id_of(self, name: str) -> int:
        """Return the id of a class name.

        Raises:
            KeyError: the set has no such class.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(f"{self.name} has no class {name!r}; it has {', '.join(self.names)}") from None

    def check(self, parts: IntArray, where: object) -> None:
        """Check that every id of a label map is a class or 255.

        Args:
            parts: (H, W) integer ids.
            where: the file that the map was read from, named in the message.

        Raises:
            InputError: an id is neither a class nor 255.
        """
        # Two maxima are cheap; a histogram would take as long as decoding the map.
        highest = parts.max(initial=0)
        if highest == IGNORE:
            highest = np.where(parts == IGNORE, 0, parts).max()
        if parts.min(initial=0) < 0 or highest >= self.num_classes:
            unknown = next(i for i in np.unique(parts).tolist() if i != IGNORE and not 0 <= i < self.num_classes)
            raise InputError(
                f"label {unknown} in {where} is not one of {self.name}'s 0..{self.num_classes - 1} (255 = ignored);"
                " check that the file belongs to this dataset or remap it"
            )

    def state(self) -> dict[str, object]:
        """Return the set as plain containers for a checkpoint; `from_state` is the inverse."""
        return {"name": self.name, "names": list(self.names), "pairs": [list(p) for p in self.pairs]}

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> LabelSet:
        """Build a label set from its `state`.

        Raises:
            ValueError: the state holds no lists of names and pairs, a name twice, or pairs that do not fit.
        """
        names, pairs = state["names"], state["pairs"]
        if not isinstance(names, list) or not isinstance(pairs, list):
            raise ValueError("a label set's state holds lists of names and pairs")
        return cls(str(state["name"]), tuple(names), tuple((int(a), int(b)) for a, b in pairs))


def voc_colors() -> UInt8Array:
    """Compute PASCAL VOC's 256 colours (256, 3) RGB: the id's bits go in turn to the high bits of R, G and B."""
    ids = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def remap_table(mapping: Mapping[int, int], default: int = IGNORE) -> UInt8Array:
    """Build a lookup table for `table[parts]`; 255 stays 255.

    Args:
        mapping: from source ids to target ids.
        default: target of all other ids.

    Returns:
        (256,) table.
    """
    table = np.full(256, default, dtype=np.uint8)
    for source, target in mapping.items():
        table[source] = target
    table[IGNORE] = IGNORE
    return table


FACTS = LabelSet(  # TCNet, order of its tables
    "facts",
    ("background", "face", "hair", "upper-clothes", "left-arm", "right-arm", "pants",
     "left-leg", "right-leg", "dress", "left-shoe", "right-shoe", "bag"),
    ((4, 5), (7, 8), (10, 11)),
)  # fmt: skip

_CIHP_NAMES = (
    "background", "hat", "hair", "gloves", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
    "torso-skin", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg",
    "left-shoe", "right-shoe",
)  # fmt: skip
_CIHP_PAIRS = ((14, 15), (16, 17), (18, 19))

VIP = LabelSet("vip", _CIHP_NAMES, _CIHP_PAIRS)
CIHP = LabelSet("cihp", _CIHP_NAMES, _CIHP_PAIRS)
LIP = LabelSet("lip", (*_CIHP_NAMES[:10], "jumpsuits", *_CIHP_NAMES[11:]), _CIHP_PAIRS)

PASCAL_PERSON_PART = LabelSet(
    "pascal_person_part",
    ("background", "head", "torso", "upper-arms", "lower-arms", "upper-legs", "lower-legs"),
)
PASCAL_PERSON_PART_LR = LabelSet(  # the ten parts of pose-guided transfer
    "pascal_person_part_lr",
    ("background", "head", "torso", "left-upper-arm", "right-upper-arm", "left-lower-arm", "right-lower-arm",
     "left-upper-leg", "right-upper-leg", "left-lower-leg", "right-lower-leg"),
    ((3, 4), (5, 6), (7, 8), (9, 10)),
)  # fmt: skip

CCP = LabelSet(  # Clothing Co-Parsing's 59 classes, merged
    "ccp",
    ("background", "hair", "hat", "glasses", "upper-clothes", "coat", "dress", "pants", "skirt", "legwear",
     "shoes", "bag", "scarf", "skin"),
)  # fmt: skip

HORSE_COW = LabelSet("horse_cow", ("background", "head", "body", "leg", "tail"))  # those that papers score
HORSE_COW_LEGS = LabelSet(  # pose-guided transfer's second kind of body
    "horse_cow_legs",
    ("background", "head", "body", "left-front-leg", "right-front-leg", "left-hind-leg", "right-hind-leg", "tail"),
    ((3, 4), (5, 6)),
)

FOREGROUND = LabelSet("foreground", ("background", "foreground"))

#: Pascal-Person-Part's ten-part left/right form -> its seven classes.
LR_TO_PASCAL_PERSON_PART = remap_table({0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 4, 7: 5, 8: 5, 9: 6, 10: 6})

#: Horses and cows with legs apart -> the five classes of `HORSE_COW`.
LEGS_TO_HORSE_COW = remap_table({0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3, 7: 4})


def to_foreground(label_set: LabelSet) -> UInt8Array:
    """Build a table (256,) that maps background to 0, every other class to 1, and ids beyond the classes to 255."""
    return remap_table({i: int(i > 0) for i in range(label_set.num_classes)})


def vip_to_facts() -> UInt8Array:
    """Build a table (256,) from VIP's classes to FACTS' 13; classes that FACTS lacks become the nearest one.

    FACTS labels bags and VIP does not, so no class maps to them.
    """
    to = {
        "face": ("face", "sunglasses", "torso-skin"), "hair": ("hair", "hat"),
        "upper-clothes": ("upper-clothes", "coat", "scarf"), "pants": ("pants",), "dress": ("dress", "skirt"),
        "left-arm": ("left-arm",), "right-arm": ("right-arm",), "left-leg": ("left-leg",),
        "right-leg": ("right-leg",), "left-shoe": ("left-shoe",), "right-shoe": ("right-shoe",),
    }  # fmt: skip
    pairs = {VIP.id_of(s): FACTS.id_of(t) for t, sources in to.items() for s in sources}
    return remap_table({0: 0, **pairs})


#: Rows of COCO's seventeen keypoints that its skeleton joins: legs, hips, trunk, shoulders, arms, head.
LIMBS = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6)),
    *((5, 7), (7, 9), (6, 8), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
