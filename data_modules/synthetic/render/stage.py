"""Prepare a scene for rendering: which shape each pixel shows, and the frame that carries its texture.

A pixel's shape takes it to local coordinates by an affine frame. From there one map leads to the colour in the
atlas, and the frame of another instant to the place there. Image, labels and flow agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data_modules.synthetic.body.affine import compose, invert
from data_modules.synthetic.body.anatomy import Anatomy, Garment, Side
from data_modules.synthetic.body.bones import pose
from data_modules.synthetic.body.figure import Shape, dress_person
from data_modules.synthetic.body.outlines import POINTS
from data_modules.synthetic.render.atlas import paint
from data_modules.synthetic.render.backdrop import prop_outline
from data_modules.synthetic.render.scene import Camera, Person, Prop, Scene, Wave
from partwise.arrays import Float64Array, Int32Array, IntpArray, UInt8Array, UInt16Array

_SUBPIXEL = 4  # bits of sub-pixel accuracy of outlines
_LAYERS = 1000.0  # more than any layer within a person


@dataclass(frozen=True)
class View:
    """The stage at one instant.

    Attributes:
        ids: (H, W) shape seen at each pixel; 0 is the backdrop.
        frames: (S, 2, 3) local coordinates -> pixels.
        outlines: (S, POINTS, 2) pixels in fixed point.
        order: shapes drawn, back to front, without the backdrop.
        depth_order: person ids, back to front.
        joints: (n, J, 3) pixels and, last, depth in body heights.
    """

    ids: UInt16Array
    frames: Float64Array
    outlines: Int32Array
    order: IntpArray
    depth_order: tuple[int, ...]
    joints: Float64Array


@dataclass(frozen=True)
class _Placed:
    """A person or prop in world coordinates at T instants: what becomes of its shapes.

    Attributes:
        matrices: (T, s, 2, 4) of the outlines.
        frames: (T, s, 2, 3) of the textures.
        layers: (T, s) drawing order within the thing.
        depth: (T,) its distance; larger is nearer.
        joints: (T, J, 3), of persons.
    """

    matrices: Float64Array
    frames: Float64Array
    layers: Float64Array
    depth: Float64Array
    joints: Float64Array | None = None


class Stage:
    """All shapes of a scene.

    Args:
        scene: the clip.

    Attributes:
        owner: (S,) person (1, 2, ...) that a shape belongs to, 0 for the backdrop, negative for props.
        anatomy: (S,) ids of `Anatomy`.
        garment: (S,) ids of `Garment`.
        side: (S,) ids of `Side`.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._figures = [dress_person(p.body, p.outfit) for p in scene.people]
        shapes = [shape for figure in self._figures for shape in figure]
        owner = [n for n, figure in enumerate(self._figures, 1) for _ in figure]
        self.owner = np.array([0, *owner, *(-n for n in range(1, len(scene.props) + 1))])
        self.anatomy = self._labels([s.anatomy for s in shapes], Anatomy.NONE)
        self.garment = self._labels([s.garment for s in shapes], Garment.BACKGROUND)
        self.side = self._labels([s.side for s in shapes], Side.NONE)
        outlines = [np.zeros((POINTS, 3)), *(s.outline for s in shapes), *(prop_outline(p) for p in scene.props)]
        self._outlines = np.concatenate([np.stack(outlines), np.ones((len(outlines), POINTS, 1))], axis=2)
        self._atlas = paint(scene, self._figures)

    def view(self, time: float) -> View:
        """Compute the stage at one time, in frames."""
        return self.views(np.array([time]))[0]

    def views(self, times: Float64Array) -> list[View]:
        """Compute the stage at times (T,), in frames; they need not be whole."""
        scene = self.scene
        since_middle = times - (scene.frames - 1) / 2
        things = [_place_person(p, f, scene, times) for p, f in zip(scene.people, self._figures, strict=True)]
        things += [_place_prop(prop, scene, since_middle) for prop in scene.props]
        still = np.zeros((len(times), 1, 2, 4))
        matrices = np.concatenate([still, *(thing.matrices for thing in things)], axis=1)
        still = np.broadcast_to(np.eye(2, 3), (len(times), 1, 2, 3))
        frames = np.concatenate([still, *(thing.frames for thing in things)], axis=1)
        layers = np.concatenate([thing.layers for thing in things], axis=1)
        depths = np.stack([thing.depth for thing in things], axis=1)
        joints = np.stack([thing.joints for thing in things if thing.joints is not None], axis=1)
        camera = _camera_matrices(scene, since_middle, times)
        fixed = self._to_pixels(camera, matrices)
        frames = _seen_by(camera, frames)
        joints[..., :2] = _seen_by(camera, joints[..., :2, None])[..., 0]
        return [self._view(*at) for at in zip(fixed, frames, layers, depths, joints, strict=True)]

    def colors(self, view: View) -> UInt8Array:
        """Render the image (H, W, 3) of a view, RGB, outlines smoothed."""
        height, width = self.scene.size
        table = compose(self._atlas.to_cell, invert(view.frames)).reshape(-1, 6)
        at = np.concatenate([table, self._atlas.bounds], axis=1).astype(np.float32)[view.ids]
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        map_x = np.clip(at[..., 0] * x + at[..., 1] * y + at[..., 2], at[..., 6], at[..., 7])
        map_y = np.clip(at[..., 3] * x + at[..., 4] * y + at[..., 5], at[..., 8], at[..., 9])
        image = cv2.remap(self._atlas.image, map_x, map_y, cv2.INTER_LINEAR)
        return _smooth_outlines(np.asarray(image, dtype=np.uint8), view.ids)

    def fill(self, outlines: Int32Array, order: IntpArray) -> UInt16Array:
        """Draw shapes one over another.

        Args:
            outlines: (S, POINTS, 2) pixels in fixed point.
            order: shapes to draw, back to front.

        Returns:
            Ids (H, W) of the shape on top; 0 where there is none.
        """
        ids = np.zeros(self.scene.size, dtype=np.uint16)
        for shape in order.tolist():
            cv2.fillPoly(ids, [outlines[shape]], shape, shift=_SUBPIXEL)
        return ids

    def _labels(self, of_shapes: Sequence[int], otherwise: int) -> UInt8Array:
        return np.array([otherwise, *of_shapes, *(otherwise for _ in self.scene.props)], dtype=np.uint8)

    def _to_pixels(self, camera: Float64Array, matrices: Float64Array) -> Int32Array:
        points = np.einsum("tsij,spj->tspi", _seen_by(camera, matrices), self._outlines)
        # The bound keeps what is far outside within OpenCV's integers.
        pixels: Int32Array = np.clip(points * (1 << _SUBPIXEL), -(2**24), 2**24).round().astype(np.int32)
        return pixels

    def _view(
        self,
        outlines: Int32Array,
        frames: Float64Array,
        layers: Float64Array,
        depths: Float64Array,
        joints: Float64Array,
    ) -> View:
        people = len(self.scene.people)
        rank = np.argsort(np.argsort(depths, kind="stable"), kind="stable")
        owner = self.owner[1:]
        keys = layers + _LAYERS * rank[np.where(owner > 0, owner - 1, people - owner - 1)]
        order = np.argsort(keys, kind="stable")
        order = order[np.isfinite(keys[order])] + 1
        by_depth = tuple(int(n) + 1 for n in np.argsort(depths[:people], kind="stable"))
        return View(self.fill(outlines, order), frames, outlines, order, by_depth, joints)


def _place_person(person: Person, figure: list[Shape], scene: Scene, times: Float64Array) -> _Placed:
    since_middle = times - (scene.frames - 1) / 2
    posed = pose(person.body, person.motion, times)
    depth = person.depth * np.exp(person.growth * since_middle)
    scale = person.stature * depth
    feet = np.stack([person.x + person.drift * since_middle, scene.horizon + scene.eye * depth], axis=1)
    bones = posed.bones * scale[:, None, None, None]
    bones[..., 3] += feet[:, None]
    joints = posed.joints.copy()
    joints[..., :2] = joints[..., :2] * scale[:, None, None] + feet[:, None]
    return _Placed(
        matrices=bones[:, [s.bone for s in figure]],
        frames=bones[:, [s.frame for s in figure]][..., (0, 1, 3)],
        layers=np.array([s.layer for s in figure]) + posed.shift[:, [s.group for s in figure]],
        depth=depth,
        joints=joints,
    )


def _place_prop(prop: Prop, scene: Scene, since_middle: Float64Array) -> _Placed:
    height = prop.height * prop.depth
    matrix = np.zeros((len(since_middle), 1, 2, 4))
    matrix[..., 0, 0], matrix[..., 1, 1] = 0.5 * prop.width * prop.depth, height
    matrix[:, 0, 0, 3] = prop.x + prop.drift * since_middle
    matrix[:, 0, 1, 3] = scene.horizon + prop.depth * (scene.eye - prop.lift) - height
    depth = np.full(len(since_middle), prop.depth)
    return _Placed(matrix, matrix[..., (0, 1, 3)], np.zeros((len(since_middle), 1)), depth)


def _seen_by(camera: Float64Array, things: Float64Array) -> Float64Array:
    """Columns (T, ..., 2, k) in the world, the last a point and the others directions, in pixels."""
    seen: Float64Array = np.einsum("tij,t...jk->t...ik", camera[:, :, :2], things)
    seen[..., -1] += camera[:, :, 2].reshape(-1, *[1] * (things.ndim - 3), 2)
    return seen


def _camera_matrices(scene: Scene, since_middle: Float64Array, times: Float64Array) -> Float64Array:
    """World -> pixels, (T, 2, 3): zoom and roll about the frame's centre, then pan."""
    camera: Camera = scene.camera
    height, width = scene.size
    zoom = height * np.exp(_wave(camera.zoom, times))
    roll = _wave(camera.roll, times)
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    linear = np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)
    centre = np.array([width / height / 2, 0.5])
    pan_x = _wave(camera.pan_x, times) - camera.travel * since_middle
    offset = height * (centre + np.stack([pan_x, _wave(camera.pan_y, times)], axis=1)) - linear @ centre
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def _wave(waves: tuple[Wave, ...], times: Float64Array) -> Float64Array:
    return np.asarray(sum(a * np.sin(2 * np.pi * times / period + phase) for a, period, phase in waves))


def _smooth_outlines(image: UInt8Array, ids: UInt16Array) -> UInt8Array:
    """Mix colours across outlines only: cheap anti-aliasing that leaves textures alone."""
    edge = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.where(edge[..., None], cv2.GaussianBlur(image, (3, 3), 0.5), image)
