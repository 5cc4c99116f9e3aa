"""Pack all textures of a scene into one image, so that one look-up colours a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_modules.synthetic.body.anatomy import Anatomy
from data_modules.synthetic.body.bones import Bone
from data_modules.synthetic.body.fabric import draw_features, render_fabric
from data_modules.synthetic.body.figure import Shape
from data_modules.synthetic.render.backdrop import canvas_corner, draw_canvas
from data_modules.synthetic.render.scene import Prop, Scene
from partwise.arrays import Float64Array, UInt8Array

_WIDTH = 1024
#: Samples per pixel of the nearest instant.
_DENSITY = 1.1
#: Extents (x0, x1, y0, y1) of the textures of frames that also carry shapes placed by another bone.
_EXTENTS = {
    Bone.SKIRT: (-0.2, 0.2, -0.05, 1.1),
    Bone.TRAIN: (-0.2, 0.2, -0.05, 1.1),
    Bone.TORSO: (-0.16, 0.16, -0.3, 1.1),
    Bone.FEATURES: (-1.3, 1.3, -1.2, 1.2),
    Bone.HEAD: (-0.16, 0.16, -0.14, 0.26),
}


@dataclass(frozen=True)
class Atlas:
    """Textures of S shapes.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        to_cell: (S, 2, 3) from a shape's local coordinates to pixels of the image.
        bounds: (S, 4) x0, x1, y0, y1 of the cells, in pixels of the image.
    """

    image: UInt8Array
    to_cell: Float64Array
    bounds: Float64Array


@dataclass(frozen=True)
class _Cell:
    """A texture (h, w, 3) and the map (2, 3) from local coordinates to its pixels."""

    colors: UInt8Array
    transform: Float64Array


def paint(scene: Scene, figures: list[list[Shape]]) -> Atlas:
    """Draw the textures of the backdrop, of every shape of every person, and of the props, in this order.

    Args:
        scene: the clip.
        figures: shapes of each person, in the scene's order.

    Returns:
        The atlas of all S shapes.
    """
    unit = scene.size[0]
    left, top = canvas_corner(scene)
    cells = [_Cell(draw_canvas(scene), unit * np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]))]
    for person, figure in zip(scene.people, figures, strict=True):
        tallest = person.stature * person.depth * np.exp(abs(person.growth) * scene.frames / 2)
        cells += [_shape_cell(shape, 1 / (_DENSITY * unit * tallest)) for shape in figure]
    cells += [_prop_cell(prop, 1 / (_DENSITY * unit)) for prop in scene.props]
    return _pack(cells)


def _shape_cell(shape: Shape, texel: float) -> _Cell:
    x, y, cap = shape.outline.T
    x = x + cap / shape.unit[0]
    shared = shape.bone != shape.frame or shape.frame in _EXTENTS
    extent = _EXTENTS[shape.frame] if shared else (x.min(), x.max(), y.min(), y.max())
    u, v, transform = _grid(extent, shape.unit, texel)
    fabric = shape.fabric
    if fabric.pattern == "logo" and shape.anatomy != Anatomy.TORSO:
        fabric = replace(fabric, pattern="plain")
    colors = render_fabric(fabric, u * shape.unit[0], v * shape.unit[1], texel)
    if fabric.pattern == "face":
        colors = draw_features(colors, u, v, fabric.base)
    low, high = extent[2 * shape.round : 2 * shape.round + 2]
    across = (2 * (u, v)[shape.round] - low - high) / (high - low)
    lit = shape.shade * (1.04 - 0.34 * across**2 + 0.1 * across)
    return _Cell(_to_bytes(colors * lit[..., None]), transform)


def _prop_cell(prop: Prop, texel: float) -> _Cell:
    unit = (0.5 * prop.width * prop.depth, prop.height * prop.depth)
    u, v, transform = _grid((-1.15, 1.15, -0.1, 1.1), unit, texel)
    return _Cell(_to_bytes(render_fabric(prop.fabric, u * unit[0], v * unit[1], texel)), transform)


def _grid(
    extent: tuple[float, ...], unit: tuple[float, float], texel: float
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Local coordinates u, v (h, w) of a cell's pixels and the map from them to the pixels."""
    x0, x1, y0, y1 = extent
    width = max(3, int(np.ceil((x1 - x0) * unit[0] / texel)) + 1)
    height = max(3, int(np.ceil((y1 - y0) * unit[1] / texel)) + 1)
    u, v = np.meshgrid(np.linspace(x0, x1, width), np.linspace(y0, y1, height))
    per_x, per_y = (width - 1) / (x1 - x0), (height - 1) / (y1 - y0)
    return u, v, np.array([[per_x, 0.0, -x0 * per_x], [0.0, per_y, -y0 * per_y]])


def _to_bytes(colors: Float64Array) -> UInt8Array:
    return np.asarray((255 * np.clip(colors, 0.01, 1)).round(), dtype=np.uint8)


def _pack(cells: list[_Cell]) -> Atlas:
    """Place cells side by side, in rows."""
    width = max(_WIDTH, *(cell.colors.shape[1] for cell in cells))
    corners, x, y, row = [], 0, 0, 0
    for cell in cells:
        height, wide = cell.colors.shape[:2]
        if x + wide > width:
            x, y, row = 0, y + row, 0
        corners.append((x, y))
        x, row = x + wide, max(row, height)
    image = np.zeros((y + row, width, 3), dtype=np.uint8)
    to_cell, bounds = np.stack([cell.transform for cell in cells]), []
    for n, (cell, (x, y)) in enumerate(zip(cells, corners, strict=True)):
        height, wide = cell.colors.shape[:2]
        image[y : y + height, x : x + wide] = cell.colors
        to_cell[n, :, 2] += x, y
        bounds.append((x, x + wide - 1, y, y + height - 1))
    return Atlas(image, to_cell, np.array(bounds, dtype=np.float64))
