"""Draw the textured world behind the people, and the outlines of props."""

from __future__ import annotations

import cv2
import numpy as np

from data_modules.synthetic.body.fabric import draw_color, smooth_noise
from data_modules.synthetic.body.outlines import ellipse, mirrored, polygon
from data_modules.synthetic.render.scene import Prop, Scene
from partwise.arrays import Float64Array, UInt8Array

#: The canvas reaches this many frame heights beyond the frame of the camera at rest, and on beside its way.
MARGIN = 0.35


def canvas_corner(scene: Scene) -> tuple[float, float]:
    """Return the world coordinates of the canvas' top left corner."""
    return -MARGIN - abs(scene.camera.travel) * scene.frames / 2, -MARGIN


def draw_canvas(scene: Scene) -> UInt8Array:
    """Draw the backdrop (h, w, 3) in RGB at the scene's resolution: wall or sky, ground, and clutter."""
    rng = np.random.default_rng(np.random.SeedSequence([scene.seed, 2]))
    unit = scene.size[0]
    left, top = canvas_corner(scene)
    height, width = round((1 - 2 * top) * unit), round(scene.size[1] - 2 * left * unit)
    rows = np.linspace(-MARGIN, 1 + MARGIN, height)[:, None, None]
    far, near = np.array(draw_color(rng)), np.array(draw_color(rng))
    far, near = 0.35 * far + 0.4, 0.6 * near + 0.2
    ground = rows > scene.horizon
    canvas = np.where(ground, near * (0.8 + 0.25 * rows), far * (1.0 - 0.25 * rows))
    canvas = np.broadcast_to(canvas, (height, width, 3)).copy()
    for _ in range(rng.integers(8, 26)):
        _clutter(canvas, rng, scene, unit)
    for grain, strength in ((0.25, 0.18), (0.06, 0.12), (0.02, 0.08)):
        canvas *= 1 + strength * smooth_noise(rng, canvas.shape, max(2.0, grain * unit))[..., None]
    canvas = cv2.GaussianBlur(np.clip(canvas, 0.02, 1), (0, 0), 0.6 + 0.004 * unit)
    return np.asarray((255 * canvas).round(), dtype=np.uint8)


def _clutter(canvas: Float64Array, rng: np.random.Generator, scene: Scene, unit: int) -> None:
    """One thing in the distance: a window or poster, a tree, a post, a blob of somebody far away."""
    color = np.array(draw_color(rng)) * rng.uniform(0.6, 1.0)
    size = rng.uniform(0.04, 0.3, 2) * unit
    x = rng.uniform(0, canvas.shape[1])
    base = (MARGIN + scene.horizon + rng.uniform(-0.3, 0.12)) * unit
    left, top, right, bottom = (int(v) for v in (x - size[0] / 2, base - size[1], x + size[0] / 2, base))
    kind = rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])
    if kind == 0:
        cv2.rectangle(canvas, (left, top), (right, bottom), color.tolist(), -1)
        if rng.random() < 0.6:
            other = (0.6 * color + 0.4 * np.array(draw_color(rng))).tolist()
            step = max(3, int(0.035 * unit))
            for line in range(left, right, step):
                cv2.line(canvas, (line, top), (line, bottom), other, max(1, step // 3))
    elif kind == 1:
        cv2.line(canvas, (int(x), top), (int(x), int(base + 0.1 * unit)), (0.6 * color).tolist(), max(2, unit // 40))
        for _ in range(5):
            dx, dy = rng.normal(0, 0.3, 2) * size
            radius = int(rng.uniform(0.25, 0.5) * size.mean())
            cv2.circle(canvas, (int(x + dx), int(top + dy)), radius, (color * rng.uniform(0.7, 1.1)).tolist(), -1)
    elif kind == 2:
        cv2.line(canvas, (int(x), top - unit // 3), (int(x), int(base)), color.tolist(), max(2, int(0.03 * unit)))
    else:
        cv2.ellipse(canvas, (int(x), int(base)), (int(size[0] / 4), int(size[1] / 2)), 0, 0, 360, color.tolist(), -1)
        cv2.circle(canvas, (int(x), int(base - 0.6 * size[1])), max(1, int(size[0] / 7)), (0.7, 0.55, 0.45), -1)


def prop_outline(prop: Prop) -> Float64Array:
    """Return the outline (POINTS, 3) of a prop with x in -1..1 and y in 0 (top) .. 1 (bottom)."""
    rng = np.random.default_rng(np.random.SeedSequence([prop.seed, 3]))
    if prop.kind == "bush":
        outline = ellipse(0.0, 0.55, 1.0, 0.5)
        outline[:, :2] = (outline[:, :2] - (0, 0.55)) * rng.uniform(0.8, 1.15, (len(outline), 1)) + (0, 0.55)
        return outline
    if prop.kind == "pole":
        return mirrored([(1.0, 0.0), (1.0, 1.0)])
    lean = float(rng.uniform(0, 0.12))
    return polygon([(-1 + lean, 0.0), (1 - lean, 0.0), (1.0, 1.0), (-1.0, 1.0)])
