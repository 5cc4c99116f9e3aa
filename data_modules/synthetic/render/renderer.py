"""Render frames of a scene with exact labels, and the flow between any two of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from data_modules.synthetic.body.affine import compose, invert
from data_modules.synthetic.body.anatomy import to_labels
from data_modules.synthetic.render import keypoints
from data_modules.synthetic.render.corruption import corrupt, draw_corruption
from data_modules.synthetic.render.scene import Scene
from data_modules.synthetic.render.stage import Stage, View
from partwise.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from partwise.labels import LabelSet

#: Sub-frames that are averaged to motion blur.
_SHOTS = 5


class Occlusion(IntEnum):
    """Whether a pixel of frame t is seen in frame s, and if not, what hides it."""

    VISIBLE = 0
    SELF = 1
    PERSON = 2
    OBJECT = 3
    OUTSIDE = 4


@dataclass(frozen=True)
class Frame:
    """One frame of n people. Row k - 1 of a per-person array is person k, also when nothing of it is seen.

    Attributes:
        image: (H, W, 3) uint8 RGB, corrupted.
        anatomy: (H, W) uint8 ids of `Anatomy`.
        garment: (H, W) uint8 ids of `Garment`.
        side: (H, W) uint8 ids of `Side`.
        persons: (H, W) uint8 person ids 1..n, 0 = nobody; what is carried belongs to its bearer.
        keypoints: (n, 17, 3) float32 COCO keypoints: x, y, visibility 2 (seen), 1 (hidden), 0 (outside).
        boxes: (n, 4) float32 xyxy pixel edges of what is seen, zeros if nothing is.
        depth_order: person ids, back to front.
    """

    image: UInt8Array
    anatomy: UInt8Array
    garment: UInt8Array
    side: UInt8Array
    persons: UInt8Array
    keypoints: Float32Array
    boxes: Float32Array
    depth_order: tuple[int, ...]

    def parts(self, label_set: LabelSet) -> UInt8Array:
        """Return the label map (H, W) in a dataset's classes."""
        return to_labels(label_set, self.anatomy, self.garment, self.side)


class Renderer:
    """Renders the frames of a scene, each alone and in any order.

    Args:
        scene: the clip.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._stage = Stage(scene)

    def frame(self, t: int) -> Frame:
        """Render frame t with all its labels."""
        view = self._stage.view(t)
        stage, ids = self._stage, view.ids
        persons = np.maximum(stage.owner, 0).astype(np.uint8)[ids]
        return Frame(
            image=self._photograph(t, view),
            anatomy=stage.anatomy[ids],
            garment=stage.garment[ids],
            side=stage.side[ids],
            persons=persons,
            keypoints=keypoints.visible(view.joints, persons, stage.anatomy[ids], stage.side[ids]),
            boxes=boxes(persons, len(self.scene.people)),
            depth_order=view.depth_order,
        )

    def image(self, t: int) -> UInt8Array:
        """Render the corrupted image (H, W, 3) of frame t, RGB."""
        return self._photograph(t, self._stage.view(t))

    def clean(self, t: int) -> UInt8Array:
        """Render the image (H, W, 3) of frame t before corruption, RGB."""
        return self._stage.colors(self._stage.view(t))

    def amodal(self, t: int) -> BoolArray:
        """Render whole silhouettes (n, H, W) of the people within frame t, as if each stood alone."""
        view, owner = self._stage.view(t), self._stage.owner
        alone = [view.order[owner[view.order] == n] for n in range(1, len(self.scene.people) + 1)]
        return np.stack([self._stage.fill(view.outlines, order) > 0 for order in alone])

    def flow(self, t: int, s: int) -> tuple[Float32Array, UInt8Array]:
        """Compute where the pixels of frame t are in frame s.

        Args:
            t: number of the frame whose pixels move.
            s: number of the frame that they move to.

        Returns:
            flow_t_to_s (2, H, W), (dx, dy) in pixels, also for pixels that are hidden in s; and `Occlusion` ids (H, W).
        """
        here, there = self._stage.view(t), self._stage.view(s)
        height, width = self.scene.size
        moves = compose(there.frames, invert(here.frames)).reshape(-1, 6)[here.ids]
        x, y = np.arange(width), np.arange(height)[:, None]
        target_x = moves[..., 0] * x + moves[..., 1] * y + moves[..., 2]
        target_y = moves[..., 3] * x + moves[..., 4] * y + moves[..., 5]
        flow = np.stack([target_x - x, target_y - y]).astype(np.float32)
        return flow, self._occlusion(here, there, target_x, target_y)

    def _photograph(self, t: int, view: View) -> UInt8Array:
        """The corrupted image (H, W, 3) of frame t, whose view is given."""
        what = draw_corruption(self.scene.seed, t, self.scene.severity, self.scene.steady_light)
        if what is None:
            return self._stage.colors(view)
        if not what.shutter:
            return corrupt(self._stage.colors(view).astype(np.float32), what)
        times = t + what.shutter * np.linspace(-0.5, 0.5, _SHOTS)
        shots = [self._stage.colors(moment) for moment in self._stage.views(times)]
        return corrupt(np.mean(shots, axis=0, dtype=np.float32), what)

    def _occlusion(self, here: View, there: View, x: Float64Array, y: Float64Array) -> UInt8Array:
        height, width = self.scene.size
        owner = self._stage.owner
        column, row = np.clip(x, -1e6, 1e6).round().astype(int), np.clip(y, -1e6, 1e6).round().astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        seen = there.ids[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        kind = np.full(seen.shape, Occlusion.SELF, dtype=np.uint8)
        kind[(owner[seen] > 0) & (owner[seen] != owner[here.ids])] = Occlusion.PERSON
        kind[owner[seen] < 0] = Occlusion.OBJECT
        kind[seen == here.ids] = Occlusion.VISIBLE
        kind[~inside] = Occlusion.OUTSIDE
        return kind


def boxes(persons: UInt8Array, count: int) -> Float32Array:
    """Return the boxes of person ids 1..count.

    Args:
        persons: (H, W) person ids.
        count: number of persons.

    Returns:
        (count, 4) xyxy pixel edges, zeros for persons who are not seen.
    """
    found = np.zeros((count, 4), dtype=np.float32)
    for n in range(1, count + 1):
        rows, columns = np.nonzero(persons == n)
        if len(rows):
            found[n - 1] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return found
