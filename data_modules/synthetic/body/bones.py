"""Project joints in space to frames on the image plane, and order shapes by depth.

The camera looks slightly down. A bone is a (2, 4) matrix of columns x axis, y axis, third axis, origin: the point
(x, y, c) of an outline lies at x*X + y*Y + c*C + O. Without c a bone is an affine frame, which carries texture and
flow; c keeps caps round when a limb is foreshortened and lets panels flare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np

from data_modules.synthetic.body.motion import INDEX, Motion
from data_modules.synthetic.body.skeleton import JOINTS, Body, joint_positions
from partwise.arrays import Float64Array

#: How far a point moves up the image per unit of depth.
TILT = 0.13
#: Limbs that point at the camera keep this share of their length, or their texture would degenerate.
SHORTEST = 0.35


class Bone(IntEnum):
    """Rows of a pose's bones. Limb bones run from joint to joint: x is 0..1 along, y in body heights across."""

    UPPER_ARM_L = 0
    UPPER_ARM_R = auto()
    LOWER_ARM_L = auto()
    LOWER_ARM_R = auto()
    HAND_L = auto()
    HAND_R = auto()
    THIGH_L = auto()
    THIGH_R = auto()
    SHANK_L = auto()
    SHANK_R = auto()
    FOOT_L = auto()
    FOOT_R = auto()
    NECK = auto()
    TORSO = auto()  # x in body heights as seen from the front, y 0..1 from pelvis to neck
    CHEST = auto()  # the torso's front: slides with the facing angle
    BACK = auto()  # the torso's back
    HEAD = auto()  # x and y (down) in body heights, origin at the centre
    FACE = auto()  # the visible part of the face: the unit disc is its outline
    FEATURES = auto()  # plane tangent to the face, for its texture
    SKIRT_L = auto()  # panels: x 0..1 from the seam to the side, y 0..1 from waist to hem, c = x*y
    SKIRT_R = auto()
    SKIRT = auto()  # x in body heights, y 0..1 from waist to hem
    TRAIN_L = auto()  # panels below the knee
    TRAIN_R = auto()
    TRAIN = auto()
    TAIL_L = auto()  # the open lower half of a coat
    TAIL_R = auto()
    HIP_L = auto()  # upright axes in body heights
    HIP_R = auto()
    GRIP_L = auto()
    GRIP_R = auto()


class Group(IntEnum):
    """Shapes that change their place in the drawing order, or vanish, together."""

    FIXED = 0
    ARM_L = auto()
    ARM_R = auto()
    LEG_L = auto()
    LEG_R = auto()
    FACE = auto()
    CHEST = auto()
    BACK = auto()  # what hangs on the back: long hair, a rucksack
    HIP_L = auto()
    HIP_R = auto()


@dataclass(frozen=True)
class Pose:
    """A person at T instants, in body heights around the point between the feet.

    Attributes:
        joints: (T, J, 3) positions by name order `JOINTS`; the last column is depth.
        bones: (T, B, 2, 4).
        shift: (T, G) what each group adds to its shapes' drawing order; infinite where it is not seen.
    """

    joints: Float64Array
    bones: Float64Array
    shift: Float64Array


def pose(body: Body, motion: Motion, times: Float64Array) -> Pose:
    """Pose a body.

    Args:
        body: proportions.
        motion: joint angles over time.
        times: (T,) in frames; they need not be whole.

    Returns:
        The person at the T instants.
    """
    angles, facing = motion.angles(times), motion.facing_at(times)
    points = joint_positions(body, angles, facing)
    flat = {name: _project(p) for name, p in points.items()}
    head_facing = facing + angles[:, INDEX["turn"]]
    bones = np.zeros((len(times), len(Bone), 2, 4))
    _limbs(bones, body, flat)
    _trunk(bones, body, flat, facing)
    _head(bones, body, flat, head_facing)
    _panels(bones, body, flat, facing)
    joints = np.stack([np.concatenate([flat[name], points[name][:, 2:]], axis=1) for name in JOINTS], axis=1)
    return Pose(joints, bones, _shift(points, facing, head_facing))


def _project(point: Float64Array) -> Float64Array:
    """(T, 3) -> (T, 2) as the tilted camera sees it."""
    return np.stack([point[:, 0], point[:, 1] - TILT * point[:, 2]], axis=1)


def _unit(vector: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Direction (T, 2), downwards where the vector vanishes, and length (T, 1)."""
    vector = vector + np.array([0.0, 1e-6])
    length = np.hypot(vector[:, :1], vector[:, 1:])
    return vector / length, length


def _across(along: Float64Array) -> Float64Array:
    """(T, 2) turned by 90 degrees: an axis that points down has the image's left across it."""
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def _set(
    bones: Float64Array, bone: Bone, x: Float64Array, y: Float64Array, c: Float64Array, origin: Float64Array
) -> None:
    bones[:, bone] = np.stack([x, y, c, origin], axis=2)


def _limbs(bones: Float64Array, body: Body, p: dict[str, Float64Array]) -> None:
    """Arms, legs and neck, and the upright places that bags hang from."""
    for side, name in (("L", "left"), ("R", "right")):
        for bone, start, end, length in (
            ("UPPER_ARM", "shoulder", "elbow", body.upper_arm),
            ("LOWER_ARM", "elbow", "wrist", body.lower_arm),
            ("HAND", "wrist", "grip", body.hand),
            ("THIGH", "hip", "knee", body.thigh),
            ("SHANK", "knee", "ankle", body.shank),
            ("FOOT", "heel", "toe", body.foot),
        ):
            _limb(bones, Bone[f"{bone}_{side}"], p[f"{name}_{start}"], p[f"{name}_{end}"], length)
        right, down = np.broadcast_to([[1.0, 0.0], [0.0, 1.0]], (len(bones), 2, 2)).swapaxes(0, 1)
        side_of_hip = 1.5 * p[f"{name}_hip"] - 0.5 * p["pelvis"]
        _set(bones, Bone[f"HIP_{side}"], right, down, 0 * right, side_of_hip)
        _set(bones, Bone[f"GRIP_{side}"], right, down, 0 * right, p[f"{name}_grip"])
    _limb(bones, Bone.NECK, p["neck"], p["head"], body.neck + body.head)


def _limb(bones: Float64Array, bone: Bone, start: Float64Array, end: Float64Array, length: float) -> None:
    """From joint to joint; only the length is foreshortened, so that widths and caps stay."""
    along, seen = _unit(end - start)
    _set(bones, bone, along * np.maximum(seen, SHORTEST * length), _across(along), along, start)


def _width(facing: Float64Array, depth: float) -> Float64Array:
    """(T, 1) width of an elliptic cylinder seen at an angle, relative to its front view."""
    return np.hypot(np.cos(facing), depth * np.sin(facing))[:, None]


def _trunk(bones: Float64Array, body: Body, p: dict[str, Float64Array], facing: Float64Array) -> None:
    """The torso narrows as it turns; what is on its front or back slides sideways."""
    along, seen = _unit(p["neck"] - p["pelvis"])
    spine = along * np.maximum(seen, SHORTEST * body.torso)
    lateral = _across(along)
    wide = lateral * _width(facing, 0.64)
    none = np.zeros_like(wide)
    _set(bones, Bone.TORSO, wide, spine, none, p["pelvis"])
    slide = 0.065 * body.girth * np.sin(facing)[:, None] * lateral
    front = lateral * np.maximum(np.cos(facing), 0.15)[:, None]
    _set(bones, Bone.CHEST, front, spine, none, p["pelvis"] + slide)
    _set(bones, Bone.BACK, lateral * _width(facing, 0.5), spine, none, p["pelvis"] - 1.5 * slide)


def _head(bones: Float64Array, body: Body, p: dict[str, Float64Array], facing: Float64Array) -> None:
    """A skull and, over 160 degrees of it, the face: its outline is the part of those that can be seen."""
    down, _ = _unit(p["neck"] - p["head"])
    lateral = -_across(down)
    radius = body.head_width * np.hypot(np.cos(facing), 1.18 * np.sin(facing))[:, None]
    none = np.zeros_like(down)
    _set(bones, Bone.HEAD, lateral * radius / body.head_width, down, none, p["head"])
    azimuth = (facing + math.pi) % (2 * math.pi) - math.pi
    left_end = np.sin(np.clip(azimuth - 1.4, -math.pi / 2, math.pi / 2))[:, None]
    right_end = np.sin(np.clip(azimuth + 1.4, -math.pi / 2, math.pi / 2))[:, None]
    middle, half = (left_end + right_end) / 2, np.maximum((right_end - left_end) / 2, 0.05)
    centre = p["head"] + 0.2 * body.head * down
    _set(bones, Bone.FACE, lateral * radius * half, 0.82 * body.head * down, none, centre + lateral * radius * middle)
    plane = lateral * radius * np.maximum(np.cos(facing), 0.3)[:, None]
    front = centre + 0.85 * lateral * radius * np.sin(facing)[:, None]
    _set(bones, Bone.FEATURES, plane, 0.82 * body.head * down, none, front)


def _panels(bones: Float64Array, body: Body, p: dict[str, Float64Array], facing: Float64Array) -> None:
    """Skirts hang between a waist line and a hem line that the legs push apart."""
    lateral, spine = _unit(bones[:, Bone.TORSO, :, 0])[0], bones[:, Bone.TORSO, :, 1]
    thigh_share, shank_share = min(body.hem, 1.0), max(body.hem - 1.0, 0.0)
    wide = 0.088 * body.girth * _width(facing, 0.72)
    waist = (p["pelvis"] + 0.16 * spine, wide, lateral)
    hem = _hem_line(p, "hip", "knee", thigh_share, 1.12 * wide + 0.045 * thigh_share)
    low = _hem_line(p, "knee", "ankle", max(shank_share, 0.05), hem[1] + 0.02)
    for name, top, bottom in (("SKIRT", waist, hem), ("TRAIN", hem, low)):
        _panel_pair(bones, name, top, bottom, facing, 0.0)
        _set(bones, Bone[name], top[2] * _width(facing, 0.72), bottom[0] - top[0], 0 * lateral, top[0])
    _panel_pair(bones, "TAIL", waist, hem, facing, 0.32)


_Line = tuple[Float64Array, Float64Array, Float64Array]  # centre (T, 2), half width (T, 1), direction (T, 2)


def _hem_line(p: dict[str, Float64Array], start: str, end: str, share: float, half: Float64Array) -> _Line:
    """The hem where a share of the way from start to end is covered; at least as wide as the legs stand."""
    left = p[f"left_{start}"] + share * (p[f"left_{end}"] - p[f"left_{start}"])
    right = p[f"right_{start}"] + share * (p[f"right_{end}"] - p[f"right_{start}"])
    apart = np.abs(left[:, :1] - right[:, :1]) / 2 + 0.04
    centre = (left + right) / 2
    return centre, np.maximum(half, apart), np.broadcast_to([1.0, 0.0], centre.shape)


def _panel_pair(bones: Float64Array, name: str, top: _Line, bottom: _Line, facing: Float64Array, gap: float) -> None:
    """The left and right panel meet at the seam in front or, seen from behind, at the one in the back."""
    front = np.where(np.cos(facing) >= 0, 1.0, -1.0)[:, None]
    seam = front * np.sin(facing)[:, None]
    opening = gap * np.maximum(np.cos(facing), 0)[:, None]
    for side, sign in (("L", 1.0), ("R", -1.0)):
        edge = sign * front
        start = seam + opening * (edge - seam)
        corners = [c + w * at * d for c, w, d in (top, bottom) for at in (start, edge)]
        inner, outer, hem_inner, hem_outer = corners
        flare = (hem_outer - hem_inner) - (outer - inner)
        _set(bones, Bone[f"{name}_{side}"], outer - inner, hem_inner - inner, flare, inner)


def _shift(p: dict[str, Float64Array], facing: Float64Array, head_facing: Float64Array) -> Float64Array:
    """Order offsets (T, G) from depths; see `figure` for the layers they add to."""
    shift = np.zeros((len(facing), len(Group)))
    for side, other, arm, leg, hip in (
        ("left", "right", Group.ARM_L, Group.LEG_L, Group.HIP_L),
        ("right", "left", Group.ARM_R, Group.LEG_R, Group.HIP_R),
    ):
        reach = 0.4 * p[f"{side}_elbow"] + 0.6 * p[f"{side}_wrist"] - (p["neck"] + p["pelvis"]) / 2
        behind = reach[:, 2] > 0.05
        shift[:, arm] = np.where(behind, 10, 90)
        near = p[f"{side}_knee"][:, 2] + p[f"{side}_hip"][:, 2] <= p[f"{other}_knee"][:, 2] + p[f"{other}_hip"][:, 2]
        shift[:, leg] = np.where(near, 30, 20)
        shift[:, hip] = np.where(p[f"{side}_hip"][:, 2] > p["pelvis"][:, 2] + 0.02, 8, 85)
    shift[:, Group.FACE] = np.where(np.cos(head_facing) > -0.85, 0.0, np.inf)
    shift[:, Group.CHEST] = np.where(np.cos(facing) > 0.25, 0.0, np.inf)
    shift[:, Group.BACK] = np.where(np.cos(head_facing) > 0, 5, 80)
    return shift
