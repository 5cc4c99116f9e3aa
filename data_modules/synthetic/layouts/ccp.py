"""Write the stand-in of Clothing Co-Parsing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from data_modules.datasets.ccp import IGNORED, MATS, PHOTOS, SOURCES, label_file
from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import SceneWriter, Shot
from partwise.labels import CCP

#: The dataset's order: null, then the alphabet.
NAMES = ("null", *sorted({name for names in SOURCES.values() for name in names if name != "null"} | set(IGNORED)))


@dataclass(frozen=True, kw_only=True)
class CCPWriter(SceneWriter):
    """Writes photos of one rendered person each, with labels in the dataset's 59 classes.

    Of the classes that are merged into one, each piece of clothing has one drawn at random.

    Args:
        photos: how many.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "ccp"

    photos: int
    size: Sequence[int] = (192, 128)

    def write(self, root: Path) -> None:
        """Write the photos and their labels into the empty folder `root`."""
        for folder in (PHOTOS, MATS):
            (root / folder).mkdir(parents=True)
        names = np.array([NAMES], dtype=object)
        scipy.io.savemat(str(root / "label_list.mat"), {"label_list": names}, do_compression=True)
        shots = self.line_up(self.shot(root, "single"), [""] * self.photos, "{number:04d}", stream=7)
        pool.run(_write_photo, shots, "rendering Clothing Co-Parsing's stand-in", self.workers)


def _write_photo(shot: Shot) -> None:
    frame = shot.picture(shot.root / PHOTOS / f"{shot.name}.jpg")
    rng = np.random.default_rng(np.random.SeedSequence([shot.seed, 8]))
    fine = np.array([NAMES.index(str(rng.choice(SOURCES[name]))) for name in CCP.names], dtype=np.uint8)
    truth = {"groundtruth": fine[frame.parts(CCP)]}
    scipy.io.savemat(str(label_file(shot.root, shot.name)), truth, do_compression=True)
