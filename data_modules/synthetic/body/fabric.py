"""Draw textures: the surface of a shape, rendered into a small cell that its local coordinates look up."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np

from partwise.arrays import Float64Array

Color = tuple[float, float, float]

#: Patterns of cloth; "face" draws features, "plain" nothing.
PATTERNS = ("plain", "stripes", "checks", "blotches", "dots", "logo", "face")


@dataclass(frozen=True)
class Fabric:
    """A material.

    Attributes:
        pattern: one of `PATTERNS`.
        base: RGB in 0..1.
        accent: the pattern's second colour.
        period: length of a repeat in body heights.
        angle: of stripes, radians.
        relief: strength of folds and grain, 0..1.
        seed: of folds, grain and blotches.
    """

    pattern: str
    base: Color
    accent: Color
    period: float
    angle: float
    relief: float
    seed: int


def draw_fabric(rng: np.random.Generator) -> Fabric:
    """Draw a random cloth."""
    pattern = str(rng.choice(PATTERNS[:6], p=[0.38, 0.18, 0.13, 0.13, 0.06, 0.12]))
    base, accent = draw_color(rng), draw_color(rng)
    if sum(abs(a - b) for a, b in zip(base, accent, strict=True)) < 0.5:  # hardly a pattern
        accent = _rgb(1 - np.array(base))
    period, angle = float(rng.uniform(0.035, 0.09)), float(rng.choice([0.0, math.pi / 2, rng.uniform(0, 3)]))
    return Fabric(pattern, base, accent, period, angle, float(rng.uniform(0.3, 1.0)), int(rng.integers(2**31)))


def plain(rng: np.random.Generator, color: Color, relief: float = 0.3) -> Fabric:
    """Make a fabric without a pattern.

    Args:
        rng: source of the seed of folds and grain.
        color: RGB in 0..1.
        relief: strength of folds and grain, 0..1.

    Returns:
        The fabric.
    """
    return Fabric("plain", color, color, 0.05, 0.0, relief, int(rng.integers(2**31)))


def draw_color(rng: np.random.Generator) -> Color:
    """Draw a colour of clothes: black, white, grey, denim, earth, or any."""
    kind = rng.choice(5, p=[0.14, 0.12, 0.12, 0.14, 0.48])
    if kind < 3:
        grey = float((rng.uniform(0.05, 0.18), rng.uniform(0.8, 0.97), rng.uniform(0.25, 0.7))[kind])
        return (grey, grey, min(1.0, grey * float(rng.uniform(0.95, 1.08))))
    if kind == 3:
        return _hsv(rng.uniform(0.57, 0.65), rng.uniform(0.35, 0.7), rng.uniform(0.2, 0.65))
    return _hsv(rng.uniform(), rng.uniform(0.3, 0.95), rng.uniform(0.25, 0.95))


def draw_skin(rng: np.random.Generator) -> Color:
    """Draw a colour of skin, from very dark to very light."""
    dark, light = np.array([0.22, 0.14, 0.10]), np.array([0.98, 0.82, 0.72])
    color = dark + (light - dark) * rng.uniform(0.05, 1) ** 0.8 + rng.normal(0, 0.015, 3)
    return _rgb(color)


def draw_hair(rng: np.random.Generator) -> Color:
    """Draw a colour of hair: black, brown, blond, red, grey, or dyed."""
    choices = [(0.06, 0.05, 0.05), (0.25, 0.15, 0.08), (0.78, 0.62, 0.36), (0.55, 0.24, 0.10), (0.68, 0.67, 0.66)]
    kind = rng.choice(6, p=[0.36, 0.28, 0.15, 0.07, 0.08, 0.06])
    return draw_color(rng) if kind == 5 else _rgb(np.array(choices[kind]) * rng.uniform(0.8, 1.2))


def _hsv(hue: float, saturation: float, value: float) -> Color:
    return colorsys.hsv_to_rgb(hue, saturation, value)


def _rgb(color: Float64Array) -> Color:
    red, green, blue = np.clip(color, 0, 1).tolist()
    return (red, green, blue)


def render_fabric(fabric: Fabric, u: Float64Array, v: Float64Array, texel: float) -> Float64Array:
    """Render a fabric at cloth coordinates.

    Args:
        fabric: the material.
        u: (h, w) coordinates in body heights.
        v: (h, w) coordinates in body heights.
        texel: distance of two samples; repeats shorter than seven of them would alias and are stretched.

    Returns:
        Colours (h, w, 3) in 0..1.
    """
    rng = np.random.default_rng(np.random.SeedSequence([fabric.seed, 7]))
    base, accent = np.array(fabric.base), np.array(fabric.accent)
    amount = _pattern(fabric, u, v, max(fabric.period, 7 * texel), rng)
    color = base + (accent - base) * amount[..., None]
    folds = smooth_noise(rng, u.shape, max(4.0, 0.06 / texel))
    grain = smooth_noise(rng, u.shape, max(3.0, 0.02 / texel))
    return np.asarray(color * (1 + fabric.relief * (0.22 * folds + 0.11 * grain)[..., None]))


def _pattern(fabric: Fabric, u: Float64Array, v: Float64Array, period: float, rng: np.random.Generator) -> Float64Array:
    """Share (h, w) of the accent colour, 0..1."""
    turn = 2 * math.pi / period
    along = np.cos(turn * (u * math.cos(fabric.angle) + v * math.sin(fabric.angle)))
    across = np.cos(turn * (v * math.cos(fabric.angle) - u * math.sin(fabric.angle)))
    if fabric.pattern == "stripes":
        return _soft(along)
    if fabric.pattern == "checks":
        return 0.5 * _soft(along) + 0.5 * _soft(across)
    if fabric.pattern == "dots":
        return _soft(along + across - 0.9)
    if fabric.pattern == "blotches":
        return _soft(2 * smooth_noise(rng, u.shape, max(2.0, 0.5 * period * len(u) / max(np.ptp(v), 1e-6))))
    if fabric.pattern == "logo":
        return _soft(4 * (1 - np.hypot((u - u.mean()) / 0.045, (v - v.min() - 0.65 * np.ptp(v)) / 0.035)))
    return np.zeros_like(u)


def _soft(x: Float64Array) -> Float64Array:
    return 0.5 + 0.5 * np.tanh(2 * x)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> Float64Array:
    """Draw smooth noise.

    Args:
        rng: source of the draw.
        shape: (h, w, ...) of the samples.
        grain: width of a bump in samples.

    Returns:
        Noise (h, w) of roughly unit range.
    """
    height, width = shape[:2]
    coarse = rng.uniform(-1, 1, (max(2, math.ceil(height / grain) + 1), max(2, math.ceil(width / grain) + 1)))
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float64)


def draw_features(cell: Float64Array, x: Float64Array, y: Float64Array, skin: Color) -> Float64Array:
    """Draw eyes, brows, nose and mouth on a face.

    Args:
        cell: (h, w, 3) colours of the face in 0..1.
        x: (h, w) face coordinates in -1..1.
        y: (h, w) face coordinates in -1..1, down.
        skin: RGB in 0..1.

    Returns:
        Colours (h, w, 3) with the features.
    """
    dark, lips = np.array([0.08, 0.06, 0.06]), np.array([0.55, 0.2, 0.2]) * 0.6 + 0.4 * np.array(skin)
    for centre in (-0.38, 0.38):
        cell = _blend(cell, dark, np.hypot((x - centre) / 0.2, (y + 0.12) / 0.13))
        cell = _blend(cell, 0.6 * dark + 0.4 * np.array(skin), np.hypot((x - centre) / 0.3, (y + 0.36) / 0.07))
    cell = _blend(cell, 0.72 * np.array(skin), np.hypot(x / 0.14, (y - 0.2) / 0.14))
    return _blend(cell, lips, np.hypot(x / 0.36, (y - 0.55) / 0.1))


def _blend(cell: Float64Array, color: Float64Array, distance: Float64Array) -> Float64Array:
    amount = _soft(3 * (1 - distance))[..., None]
    return cell + (color - cell) * amount
