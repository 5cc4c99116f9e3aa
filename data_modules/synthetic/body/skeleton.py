"""Give a body its proportions, and its joints their places in space.

The body is posed in three dimensions: x to the image's right, y down, z away from the camera, in body heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_modules.synthetic.body.motion import INDEX
from partwise.arrays import Float64Array

DOWN = np.array([0.0, 1.0, 0.0])

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "neck", "pelvis", "head_top",
)  # fmt: skip
COCO = 17  # the first of JOINTS


@dataclass(frozen=True)
class Body:
    """Proportions in body heights, for a total of about 1.

    Attributes:
        shoulders: half the distance of the shoulder joints.
        hips: half the distance of the hip joints.
        torso: pelvis to the base of the neck.
        neck: base of the neck to the centre of the head, less half the head.
        head: half the head's height.
        upper_arm: shoulder to elbow.
        lower_arm: elbow to wrist.
        thigh: hip to knee.
        shank: knee to ankle.
        foot: heel to toe.
        hand: wrist to grip.
        girth: factor on all widths.
        hem: length of skirts and coats along the thigh (0..1) and below the knee (1..2).
    """

    shoulders: float
    hips: float
    torso: float
    neck: float
    head: float
    upper_arm: float
    lower_arm: float
    thigh: float
    shank: float
    foot: float
    hand: float
    girth: float
    hem: float

    @property
    def head_width(self) -> float:
        """Half the head's width, seen from the front."""
        return 0.76 * self.head

    def radii(self, part: str) -> tuple[float, float]:
        """Return the radii of a limb's upper and lower end by the name of the part, as in `anatomy.Anatomy`."""
        start, end = _RADII[part]
        return start * self.girth, end * self.girth


_RADII = {
    "UPPER_ARM": (0.029, 0.024), "LOWER_ARM": (0.024, 0.017), "THIGH": (0.050, 0.034), "SHANK": (0.035, 0.020),
}  # fmt: skip


def joint_positions(body: Body, angles: Float64Array, facing: Float64Array) -> dict[str, Float64Array]:
    """Place the joints of a body, its lower foot on the ground y = 0.

    Args:
        body: proportions.
        angles: (T, len(ANGLES)) joint angles.
        facing: (T,) facing angles; 0 looks at the camera.

    Returns:
        Points (T, 3) in body heights by the joints' names.
    """
    left, forward = _axes(facing)
    a = {name: angles[:, i, None] for name, i in INDEX.items()}
    up = forward * np.sin(a["lean"]) - DOWN * np.cos(a["lean"]) + left * a["sway"]
    p: dict[str, Float64Array] = {"pelvis": np.zeros_like(left)}
    p["neck"] = body.torso * up
    for side, out in (("left", left), ("right", -left)):
        p[f"{side}_hip"] = body.hips * out
        thigh = _direction(a[f"hip_{side}"], a[f"spread_{side}"], forward, out)
        shank = _direction(a[f"hip_{side}"] - a[f"knee_{side}"], 0.6 * a[f"spread_{side}"], forward, out)
        p[f"{side}_knee"] = p[f"{side}_hip"] + body.thigh * thigh
        p[f"{side}_ankle"] = p[f"{side}_knee"] + body.shank * shank
        tip = np.clip(0.35 * (a[f"knee_{side}"] - a[f"hip_{side}"] - 0.3), 0, 0.6)  # toes point down behind
        sole = forward * np.cos(tip) + DOWN * np.sin(tip) + 0.25 * out
        p[f"{side}_heel"] = p[f"{side}_ankle"] + 0.018 * DOWN - 0.15 * body.foot * sole
        p[f"{side}_toe"] = p[f"{side}_heel"] + body.foot * sole
        p[f"{side}_shoulder"] = p["neck"] * 0.95 + body.shoulders * out
        roll, bend = a[f"roll_{side}"], a[f"elbow_{side}"]
        upper = _direction(a[f"shoulder_{side}"], a[f"raise_{side}"], forward, out)
        lower = _direction(
            a[f"shoulder_{side}"] + bend * np.cos(roll), a[f"raise_{side}"] + bend * np.sin(roll), forward, out
        )
        p[f"{side}_elbow"] = p[f"{side}_shoulder"] + body.upper_arm * upper
        p[f"{side}_wrist"] = p[f"{side}_elbow"] + body.lower_arm * lower
        p[f"{side}_grip"] = p[f"{side}_wrist"] + body.hand * lower
    _add_head(p, body, up, facing + angles[:, INDEX["turn"]])
    ground = np.maximum(p["left_ankle"][:, 1], p["right_ankle"][:, 1])[:, None] + 0.045
    return {name: point - ground * DOWN for name, point in p.items()}


def _add_head(p: dict[str, Float64Array], body: Body, up: Float64Array, facing: Float64Array) -> None:
    left, forward = _axes(facing)
    p["head"] = p["neck"] + (body.neck + body.head) * up + 0.012 * forward
    p["head_top"] = p["head"] + body.head * up
    p["nose"] = p["head"] + 0.85 * body.head * forward - 0.12 * body.head * up
    for side, out in (("left", left), ("right", -left)):
        p[f"{side}_eye"] = p["head"] + body.head * (0.72 * forward + 0.28 * out + 0.12 * up)
        p[f"{side}_ear"] = p["head"] + body.head * (0.72 * out)


def _axes(facing: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The person's left and forward directions, (T, 3) each."""
    sin, cos, zero = np.sin(facing), np.cos(facing), np.zeros_like(facing)
    return np.stack([cos, zero, sin], axis=1), np.stack([sin, zero, -cos], axis=1)


def _direction(flexion: Float64Array, lift: Float64Array, forward: Float64Array, out: Float64Array) -> Float64Array:
    """Direction (T, 3) of a limb that hangs down at zero angles."""
    hanging = forward * np.sin(flexion) + DOWN * np.cos(flexion)
    direction: Float64Array = hanging * np.cos(lift) + out * np.sin(lift)
    return direction
