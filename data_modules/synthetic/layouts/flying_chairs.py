"""Write the stand-in of FlyingChairs: textured shapes that fly over a moving background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_modules.datasets.flying_chairs import DATA, LIST, pair_files
from data_modules.loading import pool
from data_modules.synthetic.body.affine import compose, invert
from data_modules.synthetic.body.fabric import draw_color, draw_fabric, render_fabric, smooth_noise
from data_modules.synthetic.layouts.writer import Writer, write_rows
from partwise.arrays import BoolArray, Float32Array, Float64Array, Int32Array, IntpArray, UInt8Array
from partwise.io.flo import write_flo
from partwise.io.images import write_image

#: The background reaches this share of the frame beyond it on each side.
_MARGIN = 0.5
#: Samples of a shape's texture from its middle to its edge.
_RADIUS = 48


@dataclass(frozen=True)
class Pair:
    """Two frames and the flow between them.

    Attributes:
        first: (H, W, 3) uint8 RGB.
        second: (H, W, 3) uint8 RGB.
        flow: (2, H, W) float32 (dx, dy) pixels from the first to the second.
        visible: (H, W) whether the second frame shows the pixel of the first.
    """

    first: UInt8Array
    second: UInt8Array
    flow: Float32Array
    visible: BoolArray


@dataclass(frozen=True)
class _Layer:
    """A shape or the background: texture (h, w, 3), cover (h, w) in 0..1, and its affine maps to both frames."""

    texture: Float32Array
    cover: Float32Array
    places: tuple[Float64Array, Float64Array]


@dataclass(frozen=True, kw_only=True)
class FlyingChairsWriter(Writer):
    """Writes FlyingChairs_release/data/ and FlyingChairs_train_val.txt.

    Args:
        pairs: number of them in the splits train and val.
        size: (height, width) in pixels; FlyingChairs' is (384, 512).
        shapes: in a pair, at most; at least half as many.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "flying_chairs"
    splits = ("train", "val")

    pairs: Mapping[str, int]
    size: Sequence[int] = (192, 256)
    shapes: int = 10

    def write(self, root: Path) -> None:
        """Write the list and the pairs into the empty folder `root`."""
        rows = [str(1 + self.splits.index(split)) for split in self.splits_of_all(self.pairs)]
        folder = root / DATA
        folder.mkdir(parents=True)
        write_rows(root / LIST, rows)
        seeds = np.random.SeedSequence([self.seed, self.shapes, 27]).generate_state(len(rows)).tolist()
        jobs = [(pair_files(folder, f"{n:05d}"), own) for n, own in enumerate(seeds, 1)]
        pool.run(self._write_pair, jobs, "rendering FlyingChairs' stand-in", self.workers)

    def _write_pair(self, job: tuple[tuple[Path, Path, Path], int]) -> None:
        """Writes the pair of a seed to the files of its frames and flow."""
        (first, second, flow), seed = job
        pair = draw_pair(seed, self.canvas, self.shapes)
        write_image(first, pair.first)
        write_image(second, pair.second)
        write_flo(flow, pair.flow)


def draw_pair(seed: int, size: tuple[int, int], shapes: int = 10) -> Pair:
    """Draw a pair of frames.

    Args:
        seed: equal seeds give equal pairs.
        size: (height, width) in pixels.
        shapes: at most; at least half as many.

    Returns:
        The frames, their flow and its visibility.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 28]))
    count = int(rng.integers((shapes + 1) // 2, shapes + 1))
    layers = [_draw_background(rng, size), *(_draw_shape(rng, size) for _ in range(count))]
    (first, ids), (second, there) = (_render(layers, n, size) for n in (0, 1))
    places = [np.stack([layer.places[n] for layer in layers]) for n in (0, 1)]
    moves = compose(places[1], invert(places[0])).reshape(-1, 6)[ids]
    x, y = np.arange(size[1]), np.arange(size[0])[:, None]
    to_x = moves[..., 0] * x + moves[..., 1] * y + moves[..., 2]
    to_y = moves[..., 3] * x + moves[..., 4] * y + moves[..., 5]
    column, row = to_x.round().astype(int), to_y.round().astype(int)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    seen = there[row.clip(0, size[0] - 1), column.clip(0, size[1] - 1)]
    return Pair(first, second, np.stack([to_x - x, to_y - y]).astype(np.float32), inside & (seen == ids))


def _render(layers: Sequence[_Layer], frame: int, size: tuple[int, int]) -> tuple[UInt8Array, IntpArray]:
    """The frame (H, W, 3) and which layer each pixel (H, W) shows."""
    image, ids = np.zeros((*size, 3), np.float32), np.zeros(size, np.intp)
    for n, layer in enumerate(layers):
        place, wide = layer.places[frame], (size[1], size[0])
        texture = cv2.warpAffine(layer.texture, place, wide, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        cover = cv2.warpAffine(layer.cover, place, wide, flags=cv2.INTER_LINEAR, borderValue=0.0 if n else 1.0)
        image += cover[..., None] * (texture - image)
        ids[cover > 0.5] = n
    return (255 * image.clip(0, 1)).round().astype(np.uint8), ids


def _draw_background(rng: np.random.Generator, size: tuple[int, int]) -> _Layer:
    """A picture of clutter that is larger than the frame, and moves a little."""
    edge = [round(_MARGIN * side) for side in size]
    tall, wide = size[0] + 2 * edge[0], size[1] + 2 * edge[1]
    canvas = np.broadcast_to(np.array(draw_color(rng)), (tall, wide, 3)).copy()
    for _ in range(60):
        x, y, radius = rng.uniform(0, wide), rng.uniform(0, tall), rng.uniform(0.02, 0.14) * size[0]
        box = ((float(x), float(y)), (float(radius), float(radius * rng.uniform(0.3, 3))), float(rng.uniform(0, 180)))
        if rng.random() < 0.5:
            cv2.ellipse(canvas, box, draw_color(rng), -1)
        else:
            cv2.fillPoly(canvas, [cv2.boxPoints(box).round().astype(np.int32)], draw_color(rng))
    for grain, strength in ((0.2, 0.25), (0.05, 0.2), (0.02, 0.15)):
        canvas *= 1 + strength * smooth_noise(rng, canvas.shape, max(2.0, grain * size[0]))[..., None]
    smooth = np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.8), dtype=np.float32)
    place = np.array([[1.0, 0.0, -edge[1]], [0.0, 1.0, -edge[0]]])
    moved = _move(rng, place, (size[1] / 2, size[0] / 2), reach=0.012 * size[1], turn=0.03)
    return _Layer(smooth, np.ones((tall, wide), np.float32), (place, moved))


def _draw_shape(rng: np.random.Generator, size: tuple[int, int]) -> _Layer:
    """A blob or polygon of some fabric that flies on its own."""
    texel = 0.15 / _RADIUS
    u, v = np.meshgrid(*[np.arange(-_RADIUS, _RADIUS + 1) * texel] * 2)
    texture = render_fabric(draw_fabric(rng), u, v, texel).clip(0, 1)
    cover = np.zeros(u.shape, np.uint8)
    cv2.fillPoly(cover, [_outline(rng)], 255, lineType=cv2.LINE_AA, shift=4)
    centre = float(rng.uniform(0, size[1])), float(rng.uniform(0, size[0]))
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.28) * size[0] / _RADIUS
    place = _about(centre, angle, scale * rng.uniform(0.5, 1.0, 2), (_RADIUS, _RADIUS))
    moved = _move(rng, place, centre, reach=0.03 * size[1], turn=0.08)
    return _Layer(texture.astype(np.float32), np.asarray(cover / 255, np.float32), (place, moved))


def _outline(rng: np.random.Generator) -> Int32Array:
    """Corners (n, 2) in sixteenths of a sample: few for a polygon, many for a blob."""
    blob = rng.random() < 0.5
    turn = np.linspace(0, 2 * np.pi, 40 if blob else int(rng.integers(3, 8)), endpoint=False)
    waves = np.sum([rng.uniform(0, 0.2) * np.sin(k * turn + rng.uniform(0, 6.28)) for k in (2, 3, 5)], axis=0)
    radius = np.clip(0.75 + waves, 0.2, 0.95) if blob else rng.uniform(0.6, 0.95, turn.size)
    points = _RADIUS * (1 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1))
    return np.asarray((16 * points).round(), dtype=np.int32)


def _move(
    rng: np.random.Generator, place: Float64Array, centre: tuple[float, float], reach: float, turn: float
) -> Float64Array:
    """`place` (2, 3) after a random motion of the plane about a centre: mostly small, now and then large."""
    scale = np.exp(rng.normal(0, 0.6 * turn, 2))
    motion = _about(centre, float(rng.normal(0, turn)), scale, centre)
    motion[:, 2] += rng.laplace(0, reach, 2)
    moved: Float64Array = compose(motion[None], place[None])[0]
    return moved


def _about(centre: tuple[float, float], angle: float, scale: Float64Array, origin: tuple[float, float]) -> Float64Array:
    """The map (2, 3) that scales along x and y, turns, and takes `origin` to `centre`."""
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * scale
    return np.concatenate([linear, (np.array(centre) - linear @ np.array(origin))[:, None]], 1)
