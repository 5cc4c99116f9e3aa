"""Make outlines of shapes: arrays (POINTS, 3) of coordinates (x, y, c) on a bone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from partwise.arrays import Float64Array

Points = Sequence[tuple[float, float]]

#: Every outline has this many points; shorter ones repeat their last.
POINTS = 20


def capsule(start: float, end: float, radius_start: float, radius_end: float) -> Float64Array:
    """Make a tapered limb along x with round caps.

    Args:
        start: x where the limb begins.
        end: x where it ends.
        radius_start: its radius there.
        radius_end: its radius at the end.

    Returns:
        Outline (POINTS, 3).
    """
    angle = np.linspace(-np.pi / 2, np.pi / 2, POINTS // 2)
    sin, cos = np.sin(angle), np.cos(angle)
    far = np.stack([np.full_like(sin, end), radius_end * sin, radius_end * cos], axis=1)
    near = np.stack([np.full_like(sin, start), -radius_start * sin, -radius_start * cos], axis=1)
    return np.concatenate([far, near])


def ellipse(x: float, y: float, width: float, height: float) -> Float64Array:
    """Make an ellipse.

    Args:
        x: of the centre.
        y: of the centre.
        width: half axis along x.
        height: half axis along y.

    Returns:
        Outline (POINTS, 3).
    """
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle), np.zeros(POINTS)], axis=1)


def polygon(points: Points) -> Float64Array:
    """Make an outline through at most POINTS points."""
    padded = [*points, *(points[-1],) * (POINTS - len(points))]
    return np.array([(x, y, 0.0) for x, y in padded])


def mirrored(points: Points) -> Float64Array:
    """Make an outline through points of positive x and their mirror images."""
    return polygon([*points, *((-x, y) for x, y in reversed(points))])


def panel(grow: float = 0.0) -> Float64Array:
    """Make a skirt panel with c = x * y, its hem a little rounded, its side moved out by `grow`."""
    side = 1 + grow
    outline = polygon([(0.0, 0.0), (side, 0.0), (side, 1.0), (0.5 * side, 1.04), (0.0, 1.0)])
    outline[:, 2] = outline[:, 0] * outline[:, 1]
    return outline


def trunk(shoulders: float, girth: float, low: float, high: float, loose: float) -> Float64Array:
    """Make the trunk between two heights: hips, waist, chest, sloping shoulders.

    Args:
        shoulders: half the distance of the shoulder joints in body heights.
        girth: factor on the widths.
        low: lower height; 0 is the pelvis, 1 the neck.
        high: upper height.
        loose: distance of the cloth from the body in body heights.

    Returns:
        Outline (POINTS, 3).
    """
    profile = [(-0.22, 0.062 * girth), (-0.1, 0.088 * girth), (0.1, 0.090 * girth), (0.35, 0.076 * girth),
               (0.65, 0.090 * girth), (0.85, shoulders + 0.016), (0.93, shoulders + 0.012), (1.0, 0.055),
               (1.05, 0.03)]  # fmt: skip
    heights, widths = np.array(profile).T
    rows = [low, *(h for h in heights.tolist() if low < h < high), high]
    return mirrored([(float(np.interp(h, heights, widths)) + loose, h) for h in rows])
