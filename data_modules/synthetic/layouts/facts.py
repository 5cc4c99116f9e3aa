"""Write the stand-in of the FACTS tracklets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.datasets.facts import IMAGES, LISTS, MAPS
from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from data_modules.synthetic.layouts.writer import write_rows
from partwise.io.images import write_image, write_labels
from partwise.labels import FACTS

#: Labelled frames of a tracklet, as in the datasets.
_LABELLED = {"train": 1, "val": 5, "test": 5}


@dataclass(frozen=True, kw_only=True)
class FACTSWriter(SceneWriter):
    """Writes crops of rendered people that are followed through a video.

    images/TRACKLET/%06d.jpg are all frames, counted from 0; labels/TRACKLET/%06d.png those of one random frame of
    every training tracklet and of five of the others; lists/SPLIT.txt the tracklets; truth/ the scenes, in which frame
    n of a tracklet is frame n * step.

    Args:
        tracklets: number of them in the splits train, val and test.
        frames_per_tracklet: frames of each.
        size: (height, width) of the crops in pixels.
        step: frames of the rendered video from one of the tracklet to the next; 2 halves the frame rate.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "facts"
    splits = ("train", "val", "test")

    tracklets: Mapping[str, int]
    frames_per_tracklet: int = 10
    size: Sequence[int] = (241, 121)
    step: int = 1
    severity: float = 0.5
    domain: str = "surveillance"

    def write(self, root: Path) -> None:
        """Write the lists and tracklets into the empty folder `root`."""
        like = self.shot(root, self.domain, (self.frames_per_tracklet - 1) * self.step + 1)
        shots = self.plan(like, self.tracklets, "{split}{n:04d}", stream=9)
        for split in self.splits:
            if self.tracklets.get(split):
                write_rows(root / LISTS / f"{split}.txt", [shot.name for shot in shots if shot.split == split])
        pool.run(self._write_tracklet, shots, "rendering the stand-in of FACTS", self.workers)

    def _write_tracklet(self, shot: Shot) -> None:
        renderer = shot.video()
        rendered = range(0, shot.frames, self.step)
        rng = np.random.default_rng(np.random.SeedSequence([shot.seed, 10]))
        few = min(_LABELLED[shot.split], len(rendered))
        labelled = set(rng.choice(len(rendered), few, replace=False).tolist())
        for n, t in enumerate(rendered):
            image = shot.root / IMAGES / shot.name / f"{n:06d}.jpg"
            if n not in labelled:
                write_image(image, renderer.image(t), quality=QUALITY)
                continue
            frame = renderer.frame(t)
            write_image(image, frame.image, quality=QUALITY)
            write_labels(shot.root / MAPS / shot.name / f"{n:06d}.png", frame.parts(FACTS), FACTS.colors)
