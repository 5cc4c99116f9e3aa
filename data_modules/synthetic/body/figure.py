"""Build a person from flat shapes on bones: skin first, clothes over it.

A shape's layer says where it is drawn within the person; the pose adds its group's shift. Layers: 5 what hangs
behind, 8 a bag on the far hip, 10 far arm, 20 far leg, 30 near leg, 40-66 trunk and clothes, 70 head, 80 what
hangs on a turned back, 85 a bag on the near hip, 90 near arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from data_modules.synthetic.body.anatomy import ARMS, Anatomy, Garment, Side
from data_modules.synthetic.body.bones import Bone, Group
from data_modules.synthetic.body.fabric import Fabric
from data_modules.synthetic.body.outfit import Outfit
from data_modules.synthetic.body.outlines import capsule, ellipse, mirrored, panel, polygon, trunk
from data_modules.synthetic.body.skeleton import Body
from partwise.arrays import Float64Array


@dataclass(frozen=True)
class Shape:
    """A filled outline with one texture and one label.

    Attributes:
        outline: (POINTS, 3) coordinates (x, y, c) on `bone`.
        bone: row of the pose's bones that places the outline.
        frame: row whose affine part carries the texture and the flow.
        fabric: what it is made of.
        anatomy: body part.
        garment: what is seen.
        side: the person's side.
        layer: drawing order within the person.
        group: whose shift is added to the layer.
        unit: body heights per unit of the frame's x and y.
        round: axis (0 is x, 1 is y) across which it is shaded as a cylinder is.
        shade: factor on the brightness.
    """

    outline: Float64Array
    bone: Bone
    frame: Bone
    fabric: Fabric
    anatomy: Anatomy
    garment: Garment
    side: Side = Side.NONE
    layer: float = 0.0
    group: Group = Group.FIXED
    unit: tuple[float, float] = (1.0, 1.0)
    round: int = 0
    shade: float = 1.0


def dress_person(body: Body, outfit: Outfit) -> list[Shape]:
    """Build all shapes of a person.

    Args:
        body: proportions.
        outfit: clothes and accessories.

    Returns:
        Shapes in no particular order.
    """
    shapes = [*_trunk(body, outfit), *_skirts(body, outfit), *_head(body, outfit), *_scarf(body, outfit)]
    for side in (Side.LEFT, Side.RIGHT):
        shapes += [*_leg(body, outfit, side), *_arm(body, outfit, side)]
    return [*shapes, *_bag(body, outfit)]


@dataclass(frozen=True)
class _Cloth:
    """A fabric and the class it is labelled with."""

    fabric: Fabric
    garment: Garment


def _worn(*pieces: tuple[Fabric | None, Garment]) -> _Cloth | None:
    """The first of the pieces that is worn."""
    return next((_Cloth(fabric, garment) for fabric, garment in pieces if fabric), None)


def _top(outfit: Outfit) -> _Cloth | None:
    return _worn(
        (outfit.top, Garment.UPPER_CLOTHES), (outfit.dress, Garment.DRESS), (outfit.jumpsuit, Garment.JUMPSUIT)
    )


def _limb(
    body: Body, outfit: Outfit, part: Anatomy, side: Side, outline: Float64Array, cloth: _Cloth, layer: float
) -> Shape:
    """A piece on an arm or a leg."""
    bone = Bone[f"{part.name}_{side.name[0]}"]
    length = body.hand if part == Anatomy.HAND else getattr(body, part.name.lower())
    return Shape(
        outline, bone, bone, cloth.fabric, part, cloth.garment, side, layer,
        group=Group[f"{'ARM' if part in ARMS else 'LEG'}_{side.name[0]}"],
        unit=(length, 1.0), round=1, shade=outfit.light if side == Side.LEFT else 1 / outfit.light,
    )  # fmt: skip


def _sleeve(
    body: Body, outfit: Outfit, parts: tuple[Anatomy, Anatomy], side: Side, cloth: _Cloth, length: float,
    loose: float, layer: float,
) -> Iterator[Shape]:  # fmt: skip
    """Cloth around the upper and lower part of a limb, over a length of 0..2 parts."""
    for part, covered in zip(parts[::-1], (length - 1, min(length, 1.0)), strict=True):
        if covered > 0:
            start, end = body.radii(part.name)
            end = start + (end - start) * covered
            outline = capsule(0, covered, start + loose, end + 1.4 * loose)
            yield _limb(body, outfit, part, side, outline, cloth, layer)


def _leg(body: Body, outfit: Outfit, side: Side) -> Iterator[Shape]:
    skin = _Cloth(outfit.skin, Garment.SKIN)
    for part, layer in ((Anatomy.SHANK, 0.0), (Anatomy.THIGH, 0.1)):
        yield _limb(body, outfit, part, side, capsule(0, 1, *body.radii(part.name)), skin, layer)
    foot = skin
    if outfit.socks:
        foot = _Cloth(outfit.socks, Garment.SOCKS)
        start, end = body.radii("SHANK")
        above = 1 - outfit.sock
        outline = capsule(above, 1, start + (end - start) * above + 0.003, end + 0.004)
        yield _limb(body, outfit, Anatomy.SHANK, side, outline, foot, 0.2)
    yield _limb(body, outfit, Anatomy.FOOT, side, capsule(0.12, 0.86, 0.021, 0.016), foot, 0.25)
    if outfit.shoes:
        shoe = capsule(0.1, 0.9, 0.026, 0.020)
        yield _limb(body, outfit, Anatomy.FOOT, side, shoe, _Cloth(outfit.shoes, Garment.SHOES), 0.3)
    cloth = _worn((outfit.pants, Garment.PANTS), (outfit.jumpsuit, Garment.JUMPSUIT))
    if cloth:
        parts = (Anatomy.THIGH, Anatomy.SHANK)
        yield from _sleeve(body, outfit, parts, side, cloth, outfit.leg, 0.005 * body.girth, 0.4)


def _arm(body: Body, outfit: Outfit, side: Side) -> Iterator[Shape]:
    skin = _Cloth(outfit.skin, Garment.SKIN)
    for part, layer in ((Anatomy.UPPER_ARM, 0.0), (Anatomy.LOWER_ARM, 0.1)):
        yield _limb(body, outfit, part, side, capsule(0, 1, *body.radii(part.name)), skin, layer)
    parts = (Anatomy.UPPER_ARM, Anatomy.LOWER_ARM)
    cloth = _top(outfit)
    if cloth and outfit.sleeve > 0.15:
        yield from _sleeve(body, outfit, parts, side, cloth, outfit.sleeve, 0.005, 0.2)
    if outfit.coat:
        coat = _Cloth(outfit.coat, Garment.COAT)
        yield from _sleeve(body, outfit, parts, side, coat, 1.94, 0.011, 0.3)
    if outfit.gloves:
        glove = _Cloth(outfit.gloves, Garment.GLOVES)
        yield _limb(body, outfit, Anatomy.HAND, side, capsule(0.0, 0.85, 0.024, 0.019), glove, 0.6)
    else:
        yield _limb(body, outfit, Anatomy.HAND, side, capsule(0.15, 0.8, 0.021, 0.016), skin, 0.15)


def _trunk(body: Body, outfit: Outfit) -> Iterator[Shape]:
    def part(low: float, high: float, loose: float, cloth: _Cloth, layer: float) -> Shape:
        outline = trunk(body.shoulders, body.girth, low, high, loose)
        return Shape(outline, Bone.TORSO, Bone.TORSO, cloth.fabric, Anatomy.TORSO, cloth.garment, layer=layer,
                     unit=(1.0, body.torso))  # fmt: skip

    def chest(outline: Float64Array, cloth: _Cloth, layer: float) -> Shape:
        return replace(part(0, 1, 0, cloth, layer), outline=outline, bone=Bone.CHEST, group=Group.CHEST)

    skin = _Cloth(outfit.skin, Garment.SKIN)
    neck = capsule(0.0, 0.8, 0.030 * body.girth, 0.027 * body.girth)
    yield Shape(neck, Bone.NECK, Bone.NECK, outfit.skin, Anatomy.NECK, Garment.SKIN, layer=55,
                unit=(body.neck + body.head, 1.0), round=1, shade=0.88)  # fmt: skip
    yield part(-0.15, 1.05, 0.0, skin, 40)
    hips = _worn((outfit.pants, Garment.PANTS), (outfit.jumpsuit, Garment.JUMPSUIT), (outfit.skirt, Garment.SKIRT),
                 (outfit.dress, Garment.DRESS))  # fmt: skip
    if hips:
        yield part(-0.22, 0.16, 0.003, hips, 41)
    top = _top(outfit) or skin
    bare = 0.15 + outfit.crop if outfit.crop else -0.08
    yield part(bare if outfit.top else 0.0, 1.0, 0.005, top, 50)
    if outfit.neckline:
        depth = 1 - 0.3 * outfit.neckline
        yield chest(polygon([(-0.042, 1.03), (0.042, 1.03), (0.012, depth), (-0.012, depth)]), skin, 51)
    if outfit.coat:
        yield part(-0.1, 1.03, 0.013, _Cloth(outfit.coat, Garment.COAT), 60)
        yield chest(mirrored([(0.033, -0.12), (0.028, 0.6), (0.035, 1.03)]), top, 61)


def _skirts(body: Body, outfit: Outfit) -> Iterator[Shape]:
    """Panels of each side; only they belong to thighs and shanks, as the legs under them do."""

    def panels(cloth: _Cloth, row: str, frame: Bone, anatomy: Anatomy, layer: float, grow: float) -> Iterator[Shape]:
        for side in (Side.LEFT, Side.RIGHT):
            yield Shape(panel(grow), Bone[f"{row}_{side.name[0]}"], frame, cloth.fabric, anatomy, cloth.garment, side,
                        layer, unit=(1.0, 0.25))  # fmt: skip

    cloth = _worn((outfit.skirt, Garment.SKIRT), (outfit.dress, Garment.DRESS))
    if cloth:
        if body.hem > 1:
            yield from panels(cloth, "TRAIN", Bone.TRAIN, Anatomy.SHANK, 44, 0.0)
        yield from panels(cloth, "SKIRT", Bone.SKIRT, Anatomy.THIGH, 45, 0.0)
    if outfit.coat:
        yield from panels(_Cloth(outfit.coat, Garment.COAT), "TAIL", Bone.SKIRT, Anatomy.THIGH, 58, 0.12)


def _head(body: Body, outfit: Outfit) -> Iterator[Shape]:
    h, w = body.head, body.head_width

    def part(outline: Float64Array, fabric: Fabric, garment: Garment, layer: float) -> Shape:
        return Shape(outline, Bone.HEAD, Bone.HEAD, fabric, Anatomy.HEAD, garment, layer=layer)

    def on_face(outline: Float64Array, fabric: Fabric, garment: Garment, layer: float) -> Shape:
        return replace(part(outline, fabric, garment, layer), bone=Bone.FACE, group=Group.FACE)

    bald = outfit.hair_style == "bald"
    yield part(ellipse(0, 0, w, h), outfit.skin, Garment.SKIN, 69)
    scalp = (outfit.skin, Garment.SKIN) if bald else (outfit.hair, Garment.HAIR)
    yield part(ellipse(0, -0.14 * h, 1.1 * w, 0.98 * h), *scalp, 70)
    hanging = {"bob": 1.05 * h, "long": 2.3 * h}.get(outfit.hair_style)
    if hanging:
        curtain = mirrored([(0.5 * w, -h), (1.15 * w, -0.5 * h), (1.3 * w, 0.5 * h), (1.25 * w, 0.85 * hanging),
                            (0.8 * w, hanging)])  # fmt: skip
        yield replace(part(curtain, outfit.hair, Garment.HAIR, 0.0), group=Group.BACK)
    if outfit.hair_style == "bun":
        yield part(ellipse(0, -1.25 * h, 0.5 * w, 0.36 * h), outfit.hair, Garment.HAIR, 70.5)
    face = on_face(ellipse(0, 0.02, 0.88, 1.0), replace(outfit.skin, pattern="face"), Garment.SKIN, 71)
    yield replace(face, frame=Bone.FEATURES, unit=(w, 0.82 * h))
    if outfit.sunglasses:
        lenses = mirrored([(0.2, 0.1), (0.6, 0.14), (0.88, 0.02), (0.92, -0.3)])
        yield on_face(lenses, outfit.sunglasses, Garment.SUNGLASSES, 72)
    if outfit.hat:
        dome = mirrored([(1.16 * w, -0.42 * h), (1.1 * w, -0.85 * h), (0.8 * w, -1.18 * h), (0.35 * w, -1.3 * h)])
        yield part(dome, outfit.hat, Garment.HAT, 73)
        if outfit.hat_style == "brim":
            yield part(ellipse(0, -0.45 * h, 1.95 * w, 0.16 * h), outfit.hat, Garment.HAT, 73.5)
        if outfit.hat_style == "cap":
            visor = mirrored([(0.5, -0.42), (1.15, -0.5), (1.0, -0.72)])
            yield on_face(visor, outfit.hat, Garment.HAT, 73.5)


def _scarf(body: Body, outfit: Outfit) -> Iterator[Shape]:
    if outfit.scarf:
        wrap = capsule(0.0, 0.22, 0.05 * body.girth, 0.046 * body.girth)
        yield Shape(wrap, Bone.NECK, Bone.NECK, outfit.scarf, Anatomy.NECK, Garment.SCARF, layer=66,
                    unit=(body.neck + body.head, 1.0), round=1)  # fmt: skip
        end = polygon([(0.0, 1.02), (0.045, 1.0), (0.05, 0.5), (0.015, 0.48)])
        yield Shape(end, Bone.CHEST, Bone.TORSO, outfit.scarf, Anatomy.TORSO, Garment.SCARF, layer=65,
                    group=Group.CHEST, unit=(1.0, body.torso))  # fmt: skip


def _bag(body: Body, outfit: Outfit) -> Iterator[Shape]:
    if outfit.bag is None:
        return
    bag = Shape(polygon([(0.0, 0.0)]), Bone.HIP_L, Bone.HIP_L, outfit.bag, Anatomy.NONE, Garment.BAG)
    style, _, side = outfit.bag_style.partition("_")
    letter = side[:1].upper()

    def put(outline: Float64Array, bone: Bone, group: Group, layer: float, unit: float = 1.0) -> Shape:
        return replace(bag, outline=outline, bone=bone, frame=bone, group=group, layer=layer, unit=(1.0, unit))

    if style == "rucksack":
        sack = mirrored([(0.08, 0.2), (0.1, 0.3), (0.095, 0.85), (0.07, 0.98)])
        yield put(sack, Bone.BACK, Group.BACK, 1.0, body.torso)
        for sign in (-1, 1):
            strap = polygon([(sign * x, y) for x, y in [(0.05, 1.0), (0.075, 0.98), (0.082, 0.45), (0.066, 0.45)]])
            yield put(strap, Bone.CHEST, Group.CHEST, 64, body.torso)
    elif style == "shoulder":
        sack = mirrored([(0.078, 0.11), (0.07, -0.02)])
        yield put(sack, Bone[f"HIP_{letter}"], Group[f"HIP_{letter}"], 0.0)
        sign = -1 if letter == "L" else 1  # the strap crosses to the other shoulder
        strap = polygon([(sign * x, y) for x, y in [(0.085, 0.97), (0.065, 0.99), (-0.095, 0.02), (-0.105, 0.08)]])
        yield put(strap, Bone.CHEST, Group.CHEST, 64, body.torso)
    else:
        sack = mirrored([(0.085, 0.16), (0.075, 0.055), (0.03, 0.05), (0.012, 0.0)])
        yield put(sack, Bone[f"GRIP_{letter}"], Group[f"ARM_{letter}"], -0.1)
