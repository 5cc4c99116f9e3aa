"""Draw a horse or cow from the side: capsules for head, neck, trunk, tail and legs, and the keypoints in them.

Local coordinates are in trunk lengths, for an animal that walks to the right: x forward, y down, the origin in the
middle of the trunk. The left side is then the far one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from data_modules.synthetic.body.fabric import Fabric, draw_color
from partwise.arrays import Float64Array, Int32Array
from partwise.labels import HORSE_COW_LEGS as LABELS

Point = tuple[float, float]

KINDS = ("horse", "cow")

#: Names of a leg's three keypoints, and where it leaves the trunk.
_LEGS = {
    "front": (("shoulder", "elbow", "front_paw"), (0.36, 0.1)),
    "hind": (("hip", "knee", "back_paw"), (-0.4, 0.08)),
}
_HEAD, _BODY, _TAIL = (LABELS.id_of(name) for name in ("head", "body", "tail"))


@dataclass(frozen=True)
class Limb:
    """A capsule of one part.

    Attributes:
        part: its class.
        ends: two points.
        radii: at the ends.
        shade: factor on the brightness.
    """

    part: int
    ends: tuple[Point, Point]
    radii: tuple[float, float]
    shade: float = 1.0

    def outline(self, place: Float64Array) -> Int32Array:
        """Return the corners in sixteenths of a pixel, placed by an affine map (2, 3)."""
        turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1)
        points = np.concatenate([end + radius * circle for end, radius in zip(self.ends, self.radii, strict=True)])
        pixels = points @ place[:, :2].T + place[:, 2]
        return np.asarray(cv2.convexHull((16 * pixels).round().astype(np.int32)), dtype=np.int32)


@dataclass(frozen=True)
class Quadruped:
    """One animal.

    Attributes:
        kind: one of `KINDS`.
        limbs: capsules, far to near.
        keypoints: name -> local x, y.
        parts: name -> classes of the parts in which the keypoint is seen; none for an eye on the far side.
        place: (2, 3) from local coordinates to pixels.
        coat: its surface.
    """

    kind: str
    limbs: tuple[Limb, ...]
    keypoints: Mapping[str, Point]
    parts: Mapping[str, tuple[int, ...]]
    place: Float64Array
    coat: Fabric


def draw_quadruped(rng: np.random.Generator, size: tuple[int, int]) -> Quadruped:
    """Draw an animal in a random phase of its walk, somewhere in a picture.

    Args:
        rng: source of chance.
        size: (height, width) of the picture in pixels.

    Returns:
        The animal and its place.
    """
    kind = KINDS[rng.integers(len(KINDS))]
    right = bool(rng.random() < 0.5)
    near, far = ("right", "left") if right else ("left", "right")
    trunk, keypoints = _trunk(kind, rng)
    parts = dict.fromkeys(keypoints, (_HEAD, _BODY, _TAIL)) | {f"{near}_eye": (_HEAD,), f"{far}_eye": ()}
    keypoints |= dict.fromkeys(("left_eye", "right_eye"), keypoints.pop("eye"))
    del parts["eye"]
    legs: dict[str, list[Limb]] = {}
    for side, shade in ((far, 0.65), (near, 1.0)):
        legs[side] = []
        for end in _LEGS:
            limbs, joints = _leg(kind, side, end, shade, rng)
            legs[side] += limbs
            keypoints |= joints
            parts |= dict.fromkeys(joints, (limbs[0].part,))
    length = float(rng.uniform(0.32, 0.5)) * min(size)
    x, y = rng.uniform(0.35, 0.65) * size[1], rng.uniform(0.4, 0.6) * size[0]
    place = np.array([[length if right else -length, 0, x], [0, length, y]])
    pattern = "blotches" if kind == "cow" else "plain"
    coat = Fabric(pattern, draw_color(rng), draw_color(rng), 0.35, 0.0, 0.6, int(rng.integers(2**31)))
    return Quadruped(kind, (*legs[far], *trunk, *legs[near]), keypoints, parts, place, coat)


def _trunk(kind: str, rng: np.random.Generator) -> tuple[list[Limb], dict[str, Point]]:
    """Tail, trunk, neck and head; a horse carries its head high."""
    girth = float(rng.uniform(0.16, 0.19) if kind == "horse" else rng.uniform(0.2, 0.24))
    lift = float(rng.uniform(0.7, 1.1) if kind == "horse" else rng.uniform(-0.2, 0.5))
    neck, root = (0.42, -0.06), (-0.52, -0.06)
    poll = (neck[0] + 0.36 * math.cos(lift), neck[1] - 0.36 * math.sin(lift))
    tilt = float(rng.uniform(0.2, 0.9))
    nose = (poll[0] + 0.26 * math.cos(tilt), poll[1] + 0.26 * math.sin(tilt))
    eye = (poll[0] + 0.3 * (nose[0] - poll[0]), poll[1] + 0.3 * (nose[1] - poll[1]) - 0.02)
    limbs = [
        Limb(_TAIL, (root, (root[0] - 0.12, 0.4)), (0.035, 0.02), 0.8),
        Limb(_BODY, ((-0.36, 0.02), (0.36, 0.02)), (girth, girth)),
        Limb(_BODY, (neck, poll), (0.13, 0.08)),
        Limb(_HEAD, (poll, nose), (0.085, 0.05), 0.95),
    ]
    return limbs, {"neck": neck, "root_of_tail": root, "nose": nose, "eye": eye}


def _leg(kind: str, side: str, end: str, shade: float, rng: np.random.Generator) -> tuple[list[Limb], dict[str, Point]]:
    """Both segments of a leg and its three keypoints."""
    names, top = _LEGS[end]
    length = 0.32 if kind == "horse" else 0.26
    upper = float(rng.uniform(-0.45, 0.45))
    lower = upper - float(rng.uniform(0, 0.5))  # joints bend to the back
    middle = (top[0] + length * math.sin(upper), top[1] + length * math.cos(upper))
    foot = (middle[0] + length * math.sin(lower), middle[1] + length * math.cos(lower))
    part = LABELS.id_of(f"{side}-{end}-leg")
    limbs = [Limb(part, (top, middle), (0.085, 0.05), shade), Limb(part, (middle, foot), (0.045, 0.035), shade)]
    return limbs, {f"{side}_{name}": at for name, at in zip(names, (top, middle, foot), strict=True)}
