"""Find the COCO keypoints of posed people and whether they can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_modules.synthetic.body.anatomy import Anatomy, Side
from data_modules.synthetic.body.skeleton import COCO, JOINTS
from partwise.arrays import BoolArray, Float32Array, Float64Array, IntpArray, UInt8Array

#: Body parts under which a joint lies; it is seen where one of them (of its side) is.
_PARTS = {
    "nose": (Anatomy.HEAD,), "eye": (Anatomy.HEAD,), "ear": (Anatomy.HEAD,),
    "shoulder": (Anatomy.TORSO, Anatomy.UPPER_ARM), "elbow": (Anatomy.UPPER_ARM, Anatomy.LOWER_ARM),
    "wrist": (Anatomy.LOWER_ARM, Anatomy.HAND), "hip": (Anatomy.TORSO, Anatomy.THIGH),
    "knee": (Anatomy.THIGH, Anatomy.SHANK), "ankle": (Anatomy.SHANK, Anatomy.FOOT),
}  # fmt: skip


def visible(joints: Float64Array, persons: UInt8Array, anatomy: UInt8Array, side: UInt8Array) -> Float32Array:
    """Return COCO's keypoints with their visibility.

    Args:
        joints: (n, J, 3) pixels and depth of each person's joints.
        persons: (H, W) person ids 1..n, 0 = nobody.
        anatomy: (H, W) ids of `Anatomy`.
        side: (H, W) ids of `Side`.

    Returns:
        (n, 17, 3) x, y and visibility: 2 where the joint's own body part is seen, 1 where something hides it, 0
        outside the frame.
    """
    found = joints[:, :COCO].astype(np.float32)
    row, column, inside = pixels(found, persons.shape)
    parts, sides = _tables()
    own = own_pixels(found, persons)
    right_part = parts[np.arange(COCO), anatomy[row, column]]
    seen_side = side[row, column]
    right_side = (seen_side == Side.NONE) | (sides == Side.NONE) | (seen_side == sides)
    found[..., 2] = np.where(own & right_part & right_side & _towards_camera(joints), 2, 1)
    found[..., 2][~inside] = 0
    return found


def pixels(points: Float32Array | Float64Array, size: Sequence[int]) -> tuple[IntpArray, IntpArray, BoolArray]:
    """Find the pixels that points lie on.

    Args:
        points: (..., 2 or more) x and y in pixels.
        size: (H, W) of the picture.

    Returns:
        Row and column (...), those of the nearest pixel for a point outside the picture; whether it is inside.
    """
    column, row = points[..., 0].round().astype(int), points[..., 1].round().astype(int)
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    return row.clip(0, size[0] - 1), column.clip(0, size[1] - 1), inside


def own_pixels(points: Float32Array | Float64Array, persons: UInt8Array) -> BoolArray:
    """Find out which points lie on their own person; outside the picture, their nearest pixel decides.

    Args:
        points: (n, K, 2 or more) x and y in pixels of each person's points.
        persons: (H, W) person ids 1..n, 0 = nobody.

    Returns:
        (n, K) whether the pixel shows the person.
    """
    row, column, _ = pixels(points, persons.shape)
    own: BoolArray = persons[row, column] == np.arange(1, len(points) + 1)[:, None]
    return own


def _towards_camera(joints: Float64Array) -> BoolArray:
    """Points of the face (n, 17) are hidden by the head itself where they lie behind its middle."""
    ears = (joints[:, JOINTS.index("left_ear"), 2] + joints[:, JOINTS.index("right_ear"), 2]) / 2
    front = joints[:, :COCO, 2] <= ears[:, None] + 1e-6
    front[:, JOINTS.index("left_shoulder") :] = True
    return front


def _tables() -> tuple[BoolArray, UInt8Array]:
    """(17, anatomy) allowed body parts and (17,) sides."""
    parts = np.zeros((COCO, len(Anatomy)), dtype=bool)
    sides = np.zeros(COCO, dtype=np.uint8)
    for i, name in enumerate(JOINTS[:COCO]):
        side, _, joint = name.rpartition("_")
        parts[i, list(_PARTS[joint])] = True
        sides[i] = Side[side.upper()] if side else Side.NONE
    return parts, sides
