"""Write the stand-in of DAVIS in the layout of either release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data_modules.datasets.davis import FRAMES, MASKS
from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from data_modules.synthetic.layouts.writer import write_rows
from partwise.arrays import BoolArray
from partwise.errors import InputError
from partwise.io.atomic import atomic
from partwise.io.davis_list import FOLDERS
from partwise.io.images import write_image, write_labels
from partwise.labels import FOREGROUND, voc_colors

RELEASES = (2016, 2017)


@dataclass(frozen=True, kw_only=True)
class DAVISWriter(SceneWriter):
    """Writes videos of rendered people, who are the foreground in every frame.

    JPEGImages/480p/SEQ/%05d.jpg and Annotations/480p/SEQ/%05d.png are counted from 0. Release 2016 has masks of 0 and
    255 and ImageSets/480p/SPLIT.txt with rows of image and mask; release 2017 has palette masks of person ids and
    ImageSets/2016/SPLIT.txt with sequence names. truth/ holds the scenes.

    Args:
        sequences: number of them in the splits train, val and test; the 2016 protocol has no test and tests on val.
        frames_per_sequence: frames of each.
        size: (height, width) in pixels; the folders are called 480p whatever it is.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        release: 2016 or 2017.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "davis"
    splits = ("train", "val", "test")

    sequences: Mapping[str, int]
    frames_per_sequence: int = 40
    size: Sequence[int] = (240, 432)
    severity: float = 0.3
    release: int = 2016
    domain: str = "video"

    def write(self, root: Path) -> None:
        """Write the lists and sequences into the empty folder `root`."""
        if self.release not in RELEASES:
            raise InputError(f"release {self.release} of DAVIS is none of {', '.join(map(str, RELEASES))}")
        like = self.shot(root, self.domain, self.frames_per_sequence)
        shots = self.plan(like, self.sequences, "{split}-{n:02d}", stream=11)
        for split in self.splits:
            if self.sequences.get(split):
                self._write_list(root, split, [shot for shot in shots if shot.split == split])
        pool.run(self._write_sequence, shots, "rendering DAVIS's stand-in", self.workers)

    def _write_list(self, root: Path, split: str, shots: Sequence[Shot]) -> None:
        if self.release == 2016:
            at = [f"{shot.name}/{t:05d}" for shot in shots for t in range(shot.frames)]
            rows = [f"/{FRAMES}/{n}.jpg /{MASKS}/{n}.png" for n in at]
        else:
            rows = [shot.name for shot in shots]
        write_rows(root / FOLDERS[RELEASES.index(self.release)] / f"{split}.txt", rows)

    def _write_sequence(self, shot: Shot) -> None:
        renderer = shot.video()
        for t in range(shot.frames):
            frame = renderer.frame(t)
            seen = frame.parts(FOREGROUND) > 0
            write_image(shot.root / FRAMES / shot.name / f"{t:05d}.jpg", frame.image, quality=QUALITY)
            mask = shot.root / MASKS / shot.name / f"{t:05d}.png"
            if self.release == 2017:
                write_labels(mask, np.where(seen, frame.persons, 0), voc_colors())
            else:
                _write_grey(mask, seen)


def _write_grey(file: Path, seen: BoolArray) -> None:
    """The 2016 release's masks (H, W) are greyscale, without a palette."""
    with atomic(file) as temporary:
        Image.fromarray(np.where(seen, 255, 0).astype(np.uint8)).save(temporary, compress_level=4)
