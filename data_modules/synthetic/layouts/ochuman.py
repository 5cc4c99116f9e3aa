"""Write the stand-in of OCHuman."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torchvision.ops import box_iou

from data_modules.datasets.ochuman import IMAGES, JSON
from data_modules.loading import pool
from data_modules.synthetic.layouts import coco_json, fragments
from data_modules.synthetic.layouts.shots import SceneWriter, Shot
from data_modules.synthetic.layouts.writer import LATER
from data_modules.synthetic.render.keypoints import own_pixels
from data_modules.synthetic.render.renderer import Frame
from partwise.arrays import Float32Array

#: Ranges of the largest box IoU with another person: all, moderate and hard.
RANGES = ((0.0, 1.0), (0.5, 0.75), (0.75, 1.0))


@dataclass(frozen=True, kw_only=True)
class OCHumanWriter(SceneWriter):
    """Writes photos of rendered people who occlude each other, with RLE masks and keypoints.

    images/%06d.jpg and ochuman_coco_format_SPLIT_range_LOW_HIGH.json for all people, the moderately and the heavily
    occluded ones. As in the release, the latter two leave the other people out and number their pictures anew, areas
    are those of the boxes, and keypoints that only the person itself hides count as visible.

    Args:
        photos: number of them in the splits val and test.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "ochuman"
    splits = ("val", "test")

    photos: Mapping[str, int]
    size: Sequence[int] = (192, 256)
    domain: str = field(default="crowd", metadata={LATER: True})

    def write(self, root: Path) -> None:
        """Write the photos and jsons into the empty folder `root`."""
        splits = self.splits_of_all(self.photos)
        (root / IMAGES).mkdir(parents=True)
        shots = self.line_up(self.shot(root, self.domain), splits, "{number:06d}", stream=22)
        pool.run(_write_photo, shots, "rendering OCHuman's stand-in", self.workers)
        rows = fragments.collect(root)
        for split in self.splits:
            own = [row for row, name in zip(rows, splits, strict=True) if name == split]
            for low, high in RANGES:
                name = JSON.format(f"{split}_range_{low:.2f}_{high:.2f}")
                coco_json.write_json(root / f"{name}.json", _within(own, low, high), [coco_json.PERSON])


def _within(pictures: Sequence[Mapping[str, Any]], low: float, high: float) -> list[dict[str, Any]]:
    """Pictures, numbered anew, with only those people whose overlap is in [low, high), or [low, 1]."""
    chosen: list[dict[str, Any]] = []
    for picture in pictures:
        people = [a for a, iou in zip(picture["annotations"], picture["overlaps"], strict=True)
                  if low <= iou < high or iou == high == 1]  # fmt: skip
        if people:
            about = {key: picture[key] for key in ("file_name", "height", "width")}
            chosen.append({**about, "id": len(chosen) + 1, "annotations": people})
    return chosen


def _write_photo(shot: Shot) -> None:
    frame = shot.picture(shot.root / IMAGES / f"{shot.name}.jpg")
    people = []
    for person, keypoints in enumerate(_as_released(frame), 1):
        mask = frame.persons == person
        if mask.any():
            about = coco_json.annotation(mask, coco_json.compressed(mask), keypoints)
            people.append({**about, "area": about["bbox"][2] * about["bbox"][3]})
    coco_json.leave_picture(shot, people, overlaps=_overlaps(people))


def _as_released(frame: Frame) -> Float32Array:
    """Keypoints (n, 17, 3) whose visibility is 1 only where something other than the person hides them."""
    keypoints = frame.keypoints.copy()
    keypoints[..., 2][own_pixels(keypoints, frame.persons) & (keypoints[..., 2] > 0)] = 2
    return keypoints


def _overlaps(people: Sequence[Mapping[str, Any]]) -> list[float]:
    """Largest box IoU of each person with another."""
    if not people:
        return []
    boxes = torch.tensor([person["bbox"] for person in people], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    overlaps: list[float] = box_iou(boxes, boxes).fill_diagonal_(0).amax(1).tolist()
    return overlaps
