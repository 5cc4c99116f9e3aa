"""Move a figure: joint angles are short Fourier series of time, so any instant can be computed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from partwise.arrays import Float64Array

#: Joint angles, radians. Flexion (hip, shoulder, elbow, knee) is in the sagittal plane; spread and raise lift a
#: limb sideways, away from the body; roll turns the plane in which the elbow bends, pi/2 being sideways and up.
ANGLES = (
    "lean", "sway", "turn",
    "hip_left", "hip_right", "spread_left", "spread_right", "knee_left", "knee_right",
    "shoulder_left", "shoulder_right", "raise_left", "raise_right", "elbow_left", "elbow_right",
    "roll_left", "roll_right",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(ANGLES)}

#: Angle -> (mean, amplitude, phase, amplitude of the double frequency, its phase).
Series = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Motion:
    """Angles and path of one person.

    Attributes:
        kind: family it was drawn from.
        period: frames of one cycle.
        series: for each of `ANGLES`, mean, amplitude, phase, second amplitude, second phase.
        facing: mean, amplitude, period in frames and phase of the facing angle; 0 looks at the camera, pi/2 to
            the image's right.
        speed: body heights per frame along the facing direction.
    """

    kind: str
    period: float
    series: tuple[tuple[float, ...], ...]
    facing: tuple[float, float, float, float]
    speed: float

    def angles(self, times: Float64Array) -> Float64Array:
        """Return the angles (T, len(ANGLES)) at times (T,) in frames; knees and elbows never bend backwards."""
        mean, first, phase, second, second_phase = np.asarray(self.series).T
        turn = (2 * math.pi / self.period) * times[:, None]
        angles: Float64Array = mean + first * np.sin(turn + phase) + second * np.sin(2 * turn + second_phase)
        joints = slice(INDEX["knee_left"], INDEX["knee_right"] + 1)
        angles[:, joints] = np.maximum(angles[:, joints], 0.03)
        joints = slice(INDEX["elbow_left"], INDEX["elbow_right"] + 1)
        angles[:, joints] = np.maximum(angles[:, joints], 0.03)
        return angles

    def facing_at(self, times: Float64Array) -> Float64Array:
        """Return the facing angle (T,) at times (T,) in frames."""
        mean, amplitude, period, phase = self.facing
        return mean + amplitude * np.sin(2 * math.pi * times / period + phase)


def draw_motion(rng: np.random.Generator, kind: str, height: float) -> Motion:
    """Draw a motion of a family.

    Args:
        rng: source of chance.
        kind: family: walk, run, wave, idle, dance, crouch.
        height: of the person, in frame heights. Taller figures move more slowly, which keeps limbs at a few
            pixels per frame.

    Returns:
        Angles and path over time.
    """
    series, period, speed = _FAMILIES[kind](rng)
    wobble = 0.05 if kind in ("walk", "run") else 0.1
    rows = []
    for name in ANGLES:
        mean, *rest = (*series.get(name, (0.0,)), 0.0, 0.0, 0.0, 0.0)[:5]
        rows.append((mean + rng.normal(0, 0.03), *rest))
    rows[INDEX["turn"]] = (rng.normal(0, 0.35), rng.uniform(0, 0.3), rng.uniform(0, 6.28), 0.0, 0.0)
    shift = rng.uniform(0, 2 * math.pi)
    rows = [(m, a, p + shift, b, q + 2 * shift) for m, a, p, b, q in rows]
    facing = (_draw_facing(rng), wobble + rng.exponential(0.15), rng.uniform(30, 80), rng.uniform(0, 6.28))
    slow = 0.6 + 0.7 * height
    return Motion(kind, period * slow, tuple(tuple(map(float, row)) for row in rows), facing, speed / slow)


def _draw_facing(rng: np.random.Generator) -> float:
    """Front, side and back views, with side views on both sides."""
    view = rng.choice([0.0, 0.5, -0.5, 1.0], p=[0.42, 0.2, 0.2, 0.18])
    return float(math.pi * view + rng.normal(0, 0.35))


def _walk(rng: np.random.Generator) -> tuple[Series, float, float]:
    stride, arms = rng.uniform(0.35, 0.55), rng.uniform(0.25, 0.55)
    series: Series = {"lean": (rng.uniform(0, 0.1),), "sway": (0, 0.03)}
    for side, phase in (("left", 0.0), ("right", math.pi)):
        series[f"hip_{side}"] = (0.08, stride, phase)
        series[f"knee_{side}"] = (0.35, 0.38, phase + 1.3)
        series[f"spread_{side}"] = (0.03,)
        series[f"shoulder_{side}"] = (0.0, arms, phase + math.pi)
        series[f"raise_{side}"] = (rng.uniform(0.08, 0.2),)
        series[f"elbow_{side}"] = (rng.uniform(0.25, 0.5), 0.15, phase + math.pi)
    period = rng.uniform(20, 28)
    return series, period, 1.5 * stride / period


def _run(rng: np.random.Generator) -> tuple[Series, float, float]:
    stride = rng.uniform(0.6, 0.8)
    series: Series = {"lean": (rng.uniform(0.15, 0.3),), "sway": (0, 0.04)}
    for side, phase in (("left", 0.0), ("right", math.pi)):
        series[f"hip_{side}"] = (0.25, stride, phase)
        series[f"knee_{side}"] = (0.85, 0.7, phase + 1.2)
        series[f"shoulder_{side}"] = (-0.1, 0.7, phase + math.pi)
        series[f"raise_{side}"] = (rng.uniform(0.12, 0.25),)
        series[f"elbow_{side}"] = (1.5, 0.2, phase + math.pi)
    period = rng.uniform(16, 22)
    return series, period, 1.4 * stride / period


def _idle(rng: np.random.Generator) -> tuple[Series, float, float]:
    series: Series = {"lean": (rng.normal(0, 0.05), 0.03), "sway": (rng.normal(0, 0.03), 0.05)}
    for side in ("left", "right"):
        phase = rng.uniform(0, 6.28)
        series[f"hip_{side}"] = (rng.normal(0, 0.08), 0.05, phase)
        series[f"knee_{side}"] = (rng.uniform(0.03, 0.25), 0.05, phase)
        series[f"spread_{side}"] = (rng.uniform(0.02, 0.2), 0.02, phase)
        on_hip = rng.random() < 0.25
        series[f"shoulder_{side}"] = (rng.uniform(-0.1, 0.4), rng.uniform(0.05, 0.3), phase)
        series[f"raise_{side}"] = (0.7 if on_hip else rng.uniform(0.08, 0.3), 0.08, phase)
        series[f"elbow_{side}"] = (1.5 if on_hip else rng.uniform(0.1, 1.6), 0.2, phase)
        series[f"roll_{side}"] = (-1.5 if on_hip else rng.uniform(-0.7, 0.2),)
    return series, rng.uniform(18, 30), 0.0


def _wave(rng: np.random.Generator) -> tuple[Series, float, float]:
    series, _, speed = _idle(rng)
    sides = [("left",), ("right",), ("left", "right")][rng.choice(3, p=[0.4, 0.4, 0.2])]
    for side in sides:
        series[f"shoulder_{side}"] = (0.1, 0.1)
        series[f"raise_{side}"] = (rng.uniform(1.4, 2.0), 0.25, 0.0)
        series[f"elbow_{side}"] = (rng.uniform(0.6, 1.1), 0.5, 0.8)
        series[f"roll_{side}"] = (math.pi / 2,)
    return series, rng.uniform(14, 22), speed


def _dance(rng: np.random.Generator) -> tuple[Series, float, float]:
    def wild(mean: float, amplitude: float) -> tuple[float, ...]:
        first, second = rng.uniform(0.5, 1, 2) * amplitude
        return (mean, first, rng.uniform(0, 6.28), 0.35 * second, rng.uniform(0, 6.28))

    series: Series = {"lean": wild(0.1, 0.2), "sway": wild(0, 0.2)}
    for side in ("left", "right"):
        series[f"hip_{side}"] = wild(0.15, 0.45)
        series[f"knee_{side}"] = wild(0.5, 0.5)
        series[f"spread_{side}"] = wild(0.2, 0.2)
        series[f"shoulder_{side}"] = wild(0.4, 0.8)
        series[f"raise_{side}"] = wild(rng.uniform(0.4, 1.6), 0.7)
        series[f"elbow_{side}"] = wild(0.9, 0.7)
        series[f"roll_{side}"] = (rng.uniform(-0.5, 1.6),)
    return series, rng.uniform(20, 30), 0.0


def _crouch(rng: np.random.Generator) -> tuple[Series, float, float]:
    depth, phase = rng.uniform(0.4, 0.6), rng.uniform(0, 6.28)
    series: Series = {"lean": (0.35, 0.2, phase)}
    for side in ("left", "right"):
        uneven = rng.uniform(0.85, 1.15)
        series[f"hip_{side}"] = (1.0 * uneven, depth, phase)
        series[f"knee_{side}"] = (1.45 * uneven, 1.6 * depth, phase)
        series[f"spread_{side}"] = (rng.uniform(0.05, 0.35),)
        series[f"shoulder_{side}"] = (rng.uniform(0.3, 1.1), 0.4, phase)
        series[f"raise_{side}"] = (rng.uniform(0.05, 0.3),)
        series[f"elbow_{side}"] = (rng.uniform(0.4, 1.4), 0.3, phase)
    return series, rng.uniform(30, 45), 0.0


_FAMILIES = {"walk": _walk, "run": _run, "idle": _idle, "wave": _wave, "dance": _dance, "crouch": _crouch}
