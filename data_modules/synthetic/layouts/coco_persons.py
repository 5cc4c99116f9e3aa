"""Write the stand-in of COCO's persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.datasets.coco_persons import FILES, JSONS, PICTURES
from data_modules.loading import pool
from data_modules.synthetic.layouts import coco_json, fragments
from data_modules.synthetic.layouts.shots import SceneWriter, Shot
from data_modules.synthetic.layouts.writer import LATER
from data_modules.synthetic.render.renderer import Frame

#: Persons of a crowded picture that are annotated one by one; the farther ones become a crowd.
_NEAREST = 2


@dataclass(frozen=True, kw_only=True)
class COCOPersonsWriter(SceneWriter):
    """Writes photos of rendered people apart and upright, with COCO's polygons, crowds and keypoints.

    SPLIT2017/%012d.jpg and annotations/person_keypoints_SPLIT2017_pose2seg.json. Polygons have no holes, as COCO's.

    Args:
        photos: number of them in the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        crowds: share of the photos that show many people, all but two of them annotated as a crowd.
        domain: of the other photos, key of `scene.DOMAINS`. With mostly one person in each, tags of the Pose Module
            become all alike: pull has its way, and push has no gradient there.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "coco_persons"
    splits = ("train", "val")

    photos: Mapping[str, int]
    size: Sequence[int] = (192, 256)
    crowds: float = 0.1
    domain: str = field(default="labelled", metadata={LATER: True})

    def write(self, root: Path) -> None:
        """Write the photos and jsons into the empty folder `root`."""
        self.check_splits(self.photos)
        like = self.shot(root, self.domain)
        start = 1  # no two pictures have one name, whatever their splits
        for s, split in enumerate(self.splits):
            (root / PICTURES.format(split)).mkdir(parents=True)
            count = self.photos.get(split, 0)
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, s, 21]))
            seeds, crowded = rng.integers(2**31, size=count), rng.random(count) < self.crowds
            jobs = [
                replace(like, split=split, name=f"{n:012d}", seed=int(own), domain="crowd" if crowd else self.domain)
                for n, (own, crowd) in enumerate(zip(seeds, crowded, strict=True), start)
            ]
            start += len(jobs)
            pool.run(_write_photo, jobs, f"rendering COCO's stand-in, {split}", self.workers)
            file = root / JSONS / f"{FILES[0].format(split)}.json"
            coco_json.write_json(file, fragments.collect(root), [coco_json.PERSON])


def _write_photo(shot: Shot) -> None:
    frame = shot.picture(shot.root / PICTURES.format(shot.split) / f"{shot.name}.jpg")
    coco_json.leave_picture(shot, _annotations(frame, shot.domain == "crowd"))


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
