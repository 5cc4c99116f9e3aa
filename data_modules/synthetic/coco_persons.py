"""The stand-in in the native layout of COCO's persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.synthetic import coco_json, fragments, pool
from data_modules.synthetic.render import Frame, Renderer
from data_modules.synthetic.scene import draw_scene
from partwise.media import write_image

SPLITS = ("train", "val")

#: Persons of a crowded picture that are annotated one by one; the farther ones become a crowd.
_NEAREST = 2


@dataclass(frozen=True)
class _Photo:
    """One photo to be written: split, number, scene seed, (height, width), severity, and whether it shows a crowd."""

    root: Path
    split: str
    number: int
    seed: int
    size: tuple[int, int]
    severity: float
    crowd: bool


def write_coco_persons(
    root: Path,
    *,
    photos: Mapping[str, int],
    size: Sequence[int] = (192, 256),
    severity: float = 0.2,
    crowds: float = 0.1,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write photos of rendered people apart and upright, with COCO's polygons, crowds and keypoints.

    SPLIT2017/%012d.jpg and annotations/person_keypoints_SPLIT2017_pose2seg.json. Polygons have no holes, as COCO's.

    Args:
        root: folder to write into.
        photos: number of them in the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        crowds: share of the photos that show many people, all but two of them annotated as a crowd.
        seed: equal seeds give equal files.
        workers: processes at most; the result does not depend on it.
    """
    if unknown := set(photos) - set(SPLITS):
        raise ValueError(f"COCO has no split {', '.join(sorted(unknown))}; its splits are {', '.join(SPLITS)}")
    height, width = (int(side) for side in size)
    start = 1  # no two pictures have one name, whatever their splits
    for s, split in enumerate(SPLITS):
        (root / f"{split}2017").mkdir(parents=True)
        rng = np.random.default_rng(np.random.SeedSequence([seed, s, 21]))
        seeds, crowded = rng.integers(2**31, size=photos.get(split, 0)), rng.random(photos.get(split, 0)) < crowds
        jobs = [
            _Photo(root, split, n, int(own), (height, width), severity, bool(crowd))
            for n, (own, crowd) in enumerate(zip(seeds, crowded, strict=True), start)
        ]
        start += len(jobs)
        pool.run(_write_photo, jobs, f"rendering COCO's stand-in, {split}", workers)
        file = root / "annotations" / f"person_keypoints_{split}2017_pose2seg.json"
        coco_json.write_json(file, fragments.collect(root), [coco_json.PERSON])


def _write_photo(photo: _Photo) -> None:
    domain = "crowd" if photo.crowd else "labelled"
    scene = draw_scene(photo.seed, size=photo.size, frames=1, severity=photo.severity, domain=domain)
    frame = Renderer(scene).frame(0)
    name = f"{photo.number:012d}.jpg"
    write_image(photo.root / f"{photo.split}2017" / name, frame.image, quality=95)
    about = {"id": photo.number, "file_name": name, "height": photo.size[0], "width": photo.size[1]}
    fragments.leave(photo.root, photo.number, {**about, "annotations": _annotations(frame, photo.crowd)})


def _annotations(frame: Frame, crowd: bool) -> list[dict[str, Any]]:
    """The persons in sight, nearest first, the last of a crowd as one region."""
    order = frame.depth_order[::-1]
    alone, rest = (order[:_NEAREST], order[_NEAREST:]) if crowd else (order, ())
    found = []
    for person in alone:
        mask = frame.persons == person
        if mask.any():
            found.append(coco_json.annotation(mask, coco_json.polygons(mask), frame.keypoints[person - 1]))
    many = np.isin(frame.persons, rest)
    if many.any():
        found.append(coco_json.annotation(many, coco_json.uncompressed(many), crowd=True))
    return found
