"""The stand-in in Clothing Co-Parsing's native layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from data_modules.datasets.ccp import IGNORED, SOURCES, label_file
from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import Shot, line_up
from partwise.labels import CCP

#: The dataset's order: null, then the alphabet.
NAMES = ("null", *sorted({name for names in SOURCES.values() for name in names if name != "null"} | set(IGNORED)))


def write_ccp(
    root: Path,
    *,
    photos: int,
    size: Sequence[int] = (192, 128),
    severity: float = 0.2,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write photos of one rendered person each, with labels in the dataset's 59 classes.

    Of the classes that are merged into one, each piece of clothing has one drawn at random.

    Args:
        root: folder to write into.
        photos: how many.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        workers: processes at most; the result does not depend on it.
    """
    (root / "photos").mkdir(parents=True)
    label_file(root, "0001").parent.mkdir(parents=True)
    names = np.array([NAMES], dtype=object)
    scipy.io.savemat(str(root / "label_list.mat"), {"label_list": names}, do_compression=True)
    shots = line_up(Shot.like(root, size, severity, "single"), [""] * photos, "{number:04d}", seed=seed, stream=7)
    pool.run(_write_photo, shots, "rendering Clothing Co-Parsing's stand-in", workers)


def _write_photo(shot: Shot) -> None:
    frame = shot.picture(shot.root / "photos" / f"{shot.name}.jpg")
    rng = np.random.default_rng(np.random.SeedSequence([shot.seed, 8]))
    fine = np.array([NAMES.index(str(rng.choice(SOURCES[name]))) for name in CCP.names], dtype=np.uint8)
    truth = {"groundtruth": fine[frame.parts(CCP)]}
    scipy.io.savemat(str(label_file(shot.root, shot.name)), truth, do_compression=True)
