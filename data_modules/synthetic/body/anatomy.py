"""Name what a pixel of a rendered person shows, and derive the classes of every dataset from that.

A pixel has three properties: the body part (anatomy), what covers it (garment), and the person's own side.
A dataset's class is a function of the three, so a label map is one table look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache

import numpy as np

from partwise import labels as sets
from partwise.arrays import UInt8Array
from partwise.labels import LabelSet


class Anatomy(IntEnum):
    """Body part; NONE for the background and for things carried."""

    NONE = 0
    HEAD = 1
    NECK = 2
    TORSO = 3
    UPPER_ARM = 4
    LOWER_ARM = 5
    HAND = 6
    THIGH = 7
    SHANK = 8
    FOOT = 9


class Garment(IntEnum):
    """Visible surface: skin, hair, or a piece of clothing."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    HAT = 3
    SUNGLASSES = 4
    UPPER_CLOTHES = 5
    COAT = 6
    DRESS = 7
    SCARF = 8
    SKIRT = 9
    PANTS = 10
    SOCKS = 11
    SHOES = 12
    GLOVES = 13
    BAG = 14
    JUMPSUIT = 15


class Side(IntEnum):
    """The person's own side, not the image's."""

    NONE = 0
    LEFT = 1
    RIGHT = 2


ARMS = frozenset({Anatomy.UPPER_ARM, Anatomy.LOWER_ARM, Anatomy.HAND})
LEGS = frozenset({Anatomy.THIGH, Anatomy.SHANK, Anatomy.FOOT})


def table(label_set: LabelSet) -> UInt8Array:
    """Return the class ids of a label set as an (anatomy, garment, side) table.

    Raises:
        KeyError: there is no rule for this label set.
    """
    return _table(label_set.name)


def to_labels(label_set: LabelSet, anatomy: UInt8Array, garment: UInt8Array, side: UInt8Array) -> UInt8Array:
    """Look up the label map of a dataset.

    Args:
        label_set: the dataset's classes.
        anatomy: (H, W) ids of `Anatomy`.
        garment: (H, W) ids of `Garment`.
        side: (H, W) ids of `Side`.

    Returns:
        Class ids (H, W).
    """
    return table(label_set)[anatomy, garment, side]


@cache
def _table(name: str) -> UInt8Array:
    label_set, rule = _RULES[name]
    ids = np.zeros((len(Anatomy), len(Garment), len(Side)), dtype=np.uint8)
    for anatomy in Anatomy:
        for garment in Garment:
            for side in Side:
                ids[anatomy, garment, side] = label_set.id_of(rule(anatomy, garment, side))
    return ids


_Rule = Callable[[Anatomy, Garment, Side], str]

_CLOTHES = {
    Garment.BACKGROUND: "background", Garment.HAIR: "hair", Garment.HAT: "hat", Garment.SUNGLASSES: "sunglasses",
    Garment.UPPER_CLOTHES: "upper-clothes", Garment.COAT: "coat", Garment.DRESS: "dress", Garment.SCARF: "scarf",
    Garment.SKIRT: "skirt", Garment.PANTS: "pants", Garment.SOCKS: "socks", Garment.GLOVES: "gloves",
    Garment.BAG: "background",  # the family of LIP, CIHP and VIP leaves bags unlabelled
}  # fmt: skip


def _sided(side: Side, thing: str) -> str:
    """left-thing or right-thing; a thing without a side cannot occur and counts as left."""
    return f"{'right' if side == Side.RIGHT else 'left'}-{thing}"


def _skin(anatomy: Anatomy, side: Side, trunk: str) -> str:
    if anatomy in ARMS:
        return _sided(side, "arm")
    if anatomy in LEGS:
        return _sided(side, "leg")
    return trunk if anatomy in (Anatomy.NECK, Anatomy.TORSO) else "face"


def _cihp(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    if garment == Garment.SKIN:
        return _skin(anatomy, side, "torso-skin")
    if garment == Garment.SHOES:
        return _sided(side, "shoe")
    if garment == Garment.JUMPSUIT:  # labelled by halves where the set has no class for it
        return "pants" if anatomy in LEGS else "upper-clothes"
    return _CLOTHES[garment]


def _lip(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    if garment == Garment.JUMPSUIT:
        return "jumpsuits"
    if garment == Garment.SKIN:  # no class for the skin of neck and torso: it counts as face
        return _skin(anatomy, side, "face")
    return _cihp(anatomy, garment, side)


def _facts(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    if garment == Garment.BAG:
        return "bag"
    if garment in (Garment.SKIN, Garment.SUNGLASSES, Garment.GLOVES, Garment.SOCKS):
        return _skin(anatomy, side, "face")
    merged = {"hat": "hair", "coat": "upper-clothes", "scarf": "upper-clothes", "skirt": "dress"}
    name = _cihp(anatomy, garment, side)
    return merged.get(name, name)


def _ccp(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    renamed = {
        Garment.SKIN: "skin", Garment.GLOVES: "skin", Garment.SUNGLASSES: "glasses", Garment.SOCKS: "legwear",
        Garment.SHOES: "shoes", Garment.BAG: "bag",
    }  # fmt: skip
    return renamed.get(garment) or _cihp(anatomy, garment, side)


def _pascal_lr(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    if anatomy == Anatomy.NONE or garment == Garment.BACKGROUND:
        return "background"
    if anatomy == Anatomy.HEAD:
        return "head"
    if anatomy in (Anatomy.NECK, Anatomy.TORSO):
        return "torso"
    upper = anatomy in (Anatomy.UPPER_ARM, Anatomy.THIGH)
    return _sided(side, f"{'upper' if upper else 'lower'}-{'arm' if anatomy in ARMS else 'leg'}")


def _pascal(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    name = _pascal_lr(anatomy, garment, side)
    return name if "-" not in name else f"{name.split('-', 1)[1]}s"


def _foreground(anatomy: Anatomy, garment: Garment, side: Side) -> str:
    return "background" if garment == Garment.BACKGROUND else "foreground"


_RULES: dict[str, tuple[LabelSet, _Rule]] = {
    "vip": (sets.VIP, _cihp),
    "cihp": (sets.CIHP, _cihp),
    "lip": (sets.LIP, _lip),
    "facts": (sets.FACTS, _facts),
    "ccp": (sets.CCP, _ccp),
    "pascal_person_part": (sets.PASCAL_PERSON_PART, _pascal),
    "pascal_person_part_lr": (sets.PASCAL_PERSON_PART_LR, _pascal_lr),
    "foreground": (sets.FOREGROUND, _foreground),
}
