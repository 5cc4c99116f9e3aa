"""Dress a person, such that every class of every label set occurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_modules.synthetic.body.fabric import Color, Fabric, draw_color, draw_fabric, draw_hair, draw_skin, plain


@dataclass(frozen=True)
class Outfit:
    """One person's looks; fixed for a clip. A fabric of None means the piece is not worn.

    Attributes:
        skin: its fabric.
        hair: its fabric.
        hair_style: bald, short, bob, long, bun.
        hat: with `hat_style` cap, brim or beanie.
        hat_style: see `hat`.
        sunglasses: worn or not.
        top: upper-clothes, with `sleeve` as the covered share of the arm, 0..2 (1 ends at the elbow).
        sleeve: see `top`; of the dress and the jumpsuit too.
        neckline: depth of the bare V, 0..1.
        crop: share of the torso below the top that is bare, 0..0.5.
        coat: worn over the top, open in front, with long sleeves.
        dress: replaces top, skirt and pants.
        jumpsuit: one piece of top and pants.
        skirt: below the top.
        pants: with `leg` as the covered share of the leg, 0..2.
        leg: see `pants`.
        socks: with `sock` as the covered share of the shank, 0..1.
        sock: see `socks`.
        shoes: None is barefoot.
        gloves: worn or not.
        scarf: worn or not.
        bag: with `bag_style` shoulder_left, shoulder_right, hand_left, hand_right or rucksack.
        bag_style: see `bag`.
        light: brightness of the left side relative to the right, about 1.
    """

    skin: Fabric
    hair: Fabric
    hair_style: str
    hat: Fabric | None
    hat_style: str
    sunglasses: Fabric | None
    top: Fabric | None
    sleeve: float
    neckline: float
    crop: float
    coat: Fabric | None
    dress: Fabric | None
    jumpsuit: Fabric | None
    skirt: Fabric | None
    pants: Fabric | None
    leg: float
    socks: Fabric | None
    sock: float
    shoes: Fabric | None
    gloves: Fabric | None
    scarf: Fabric | None
    bag: Fabric | None
    bag_style: str
    light: float


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Draw random looks: separates, a skirt, a dress or a jumpsuit, and accessories."""
    kind = str(rng.choice(["pants", "skirt", "dress", "jumpsuit"], p=[0.52, 0.2, 0.22, 0.06]))

    def worn(chance: float, patterned: bool = True) -> Fabric | None:
        fabric = draw_fabric(rng) if patterned else plain(rng, draw_color(rng), 0.4)
        return fabric if rng.random() < chance else None

    separates = kind in ("pants", "skirt")
    return Outfit(
        skin=plain(rng, draw_skin(rng), 0.25),
        hair=plain(rng, draw_hair(rng), 1.0),
        hair_style=str(rng.choice(["bald", "short", "bob", "long", "bun"], p=[0.08, 0.38, 0.2, 0.24, 0.1])),
        hat=worn(0.3),
        hat_style=str(rng.choice(["cap", "brim", "beanie"])),
        sunglasses=_glasses(rng) if rng.random() < 0.3 else None,
        top=worn(1.0 if separates else 0.0),
        sleeve=_length(rng, [0.12, 0.43, 0.1, 0.35], [0.0, 0.55, 1.2, 1.96]),
        neckline=float(rng.choice([0.0, rng.uniform(0.3, 1.0)])),
        crop=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.1, 0.3)])),
        coat=worn(0.26 if separates else 0.12),
        dress=worn(1.0 if kind == "dress" else 0.0),
        jumpsuit=worn(1.0 if kind == "jumpsuit" else 0.0),
        skirt=worn(1.0 if kind == "skirt" else 0.0),
        pants=worn(1.0 if kind == "pants" else 0.0),
        leg=_length(rng, [0.3, 0.1, 0.6], [0.65, 1.35, 1.93]),
        socks=worn(0.55, patterned=False),
        sock=float(rng.choice([rng.uniform(0.15, 0.35), rng.uniform(0.5, 0.85)])),
        shoes=worn(0.94, patterned=False),
        gloves=worn(0.25, patterned=False),
        scarf=worn(0.28),
        bag=worn(0.3),
        bag_style=str(rng.choice(["shoulder_left", "shoulder_right", "hand_left", "hand_right", "rucksack"])),
        light=float(np.exp(rng.normal(0, 0.12))),
    )


def _glasses(rng: np.random.Generator) -> Fabric:
    color: Color = (0.05, 0.05, 0.07) if rng.random() < 0.7 else draw_color(rng)
    return plain(rng, color, 0.1)


def _length(rng: np.random.Generator, chances: list[float], lengths: list[float]) -> float:
    return float(rng.choice(lengths, p=chances) + rng.uniform(-0.08, 0.04))
