"""Write the stand-in of horses and cows: animals of capsules with exact parts, masks and keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_modules.datasets.horse_cow import IMAGES, JSONS, KEYPOINTS, PARTS
from data_modules.loading import pool
from data_modules.synthetic.body.fabric import render_fabric
from data_modules.synthetic.body.quadruped import KINDS, Quadruped, draw_quadruped
from data_modules.synthetic.layouts import coco_json, fragments
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from data_modules.synthetic.render.backdrop import MARGIN, draw_canvas
from data_modules.synthetic.render.corruption import corrupt, draw_corruption
from partwise.arrays import Float32Array, UInt8Array
from partwise.io.images import write_image, write_labels
from partwise.labels import HORSE_COW_LEGS as LABELS

#: Chances of one, two and three animals.
_ANIMALS = (0.6, 0.3, 0.1)


@dataclass(frozen=True, kw_only=True)
class HorseCowWriter(SceneWriter):
    """Writes photos of animals.

    images/%06d.jpg, annotations/SPLIT.json and, but for the keypoint-only split "poses", parts/%06d.png.

    Args:
        photos: number of them in the splits train, val and poses.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "horse_cow"
    revision = 2  # before, a tail was part of the torso
    splits = ("train", "val", "poses")

    photos: Mapping[str, int]
    size: Sequence[int] = (192, 256)

    def write(self, root: Path) -> None:
        """Write the photos, jsons and parts into the empty folder `root`."""
        splits = self.splits_of_all(self.photos)
        shots = self.line_up(self.shot(root, "single"), splits, "{number:06d}", stream=25)
        for folder in (IMAGES, PARTS):
            (root / folder).mkdir(parents=True)
        pool.run(_write_photo, shots, "rendering horses and cows", self.workers)
        pictures = fragments.collect(root)
        categories = [
            {"id": n, "name": kind, "supercategory": "animal", "keypoints": list(KEYPOINTS), "skeleton": []}
            for n, kind in enumerate(KINDS, 1)
        ]
        for split in self.splits:
            chosen = [p for p, name in zip(pictures, splits, strict=True) if name == split]
            coco_json.write_json(root / JSONS / f"{split}.json", chosen, categories)


def _write_photo(shot: Shot) -> None:
    rng = np.random.default_rng(np.random.SeedSequence([shot.seed, 26]))
    animals = [draw_quadruped(rng, shot.size) for _ in range(1 + int(rng.choice(len(_ANIMALS), p=_ANIMALS)))]
    owners, parts = np.zeros(shot.size, np.uint8), np.zeros(shot.size, np.uint8)
    image = _backdrop(shot)
    for n, animal in enumerate(animals, 1):
        _paint(animal, n, image, owners, parts)
    what = draw_corruption(shot.seed, 0, shot.severity)
    shown = image.round().astype(np.uint8) if what is None else corrupt(image, what)
    write_image(shot.root / IMAGES / f"{shot.name}.jpg", shown, quality=QUALITY)
    masks = shot.split != "poses"
    if masks:
        write_labels(shot.root / PARTS / f"{shot.name}.png", parts, LABELS.colors)
    found = [_annotation(animal, n, owners, parts, masks) for n, animal in enumerate(animals, 1)]
    coco_json.leave_picture(shot, [a for a in found if a is not None])


def _backdrop(shot: Shot) -> Float32Array:
    """The textured world (H, W, 3) behind the animals, in 0..255."""
    edge = round(MARGIN * shot.size[0])
    canvas = draw_canvas(shot.scene())[edge : edge + shot.size[0], edge : edge + shot.size[1]]
    return canvas.astype(np.float32)


def _paint(
    animal: Quadruped,
    number: int,
    image: Float32Array,
    owners: UInt8Array,
    parts: UInt8Array,
) -> None:
    """Draw an animal over what is in the image (H, W, 3) and the maps (H, W)."""
    height, width = owners.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    scale = animal.place[1, 1]
    u, v = (x - animal.place[0, 2]) / animal.place[0, 0], (y - animal.place[1, 2]) / scale
    coat = 255 * np.clip(render_fabric(animal.coat, u, v, 1 / scale), 0.03, 1)
    for limb in animal.limbs:
        inside = np.zeros(owners.shape, np.uint8)
        cv2.fillPoly(inside, [limb.outline(animal.place)], 1, shift=4)
        seen = inside > 0
        image[seen], owners[seen], parts[seen] = (coat * limb.shade)[seen], number, limb.part


def _annotation(
    animal: Quadruped,
    number: int,
    owners: UInt8Array,
    parts: UInt8Array,
    masks: bool,
) -> dict[str, Any] | None:
    """What the json says of an animal; None if others hide it whole."""
    mask = owners == number
    if not mask.any():
        return None
    keypoints = np.zeros((len(KEYPOINTS), 3), np.float32)
    for k, name in enumerate(KEYPOINTS):
        x, y = animal.place[:, :2] @ animal.keypoints[name] + animal.place[:, 2]
        row, column = round(y), round(x)
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            seen = mask[row, column] and parts[row, column] in animal.parts[name]
            keypoints[k] = x, y, 2 if seen else 1
    about = coco_json.annotation(mask, coco_json.compressed(mask), keypoints)
    about["category_id"] = 1 + KINDS.index(animal.kind)
    return about if masks else {key: value for key, value in about.items() if key != "segmentation"}
