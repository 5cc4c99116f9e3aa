"""The stand-in in Clothing Co-Parsing's native layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from data_modules.datasets.ccp import IGNORED, SOURCES, label_file
from data_modules.synthetic import pool
from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from partwise.labels import CCP
from partwise.media import write_image

#: The dataset's order: null, then the alphabet.
NAMES = ("null", *sorted({name for names in SOURCES.values() for name in names if name != "null"} | set(IGNORED)))


@dataclass(frozen=True)
class _Photo:
    """One photo to be written: number, scene seed, (height, width) and severity of the corruption."""

    root: Path
    number: int
    seed: int
    size: tuple[int, int]
    severity: float


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
    height, width = size
    (root / "photos").mkdir(parents=True)
    label_file(root, "0001").parent.mkdir(parents=True)
    names = np.array([NAMES], dtype=object)
    scipy.io.savemat(str(root / "label_list.mat"), {"label_list": names}, do_compression=True)
    seeds = np.random.SeedSequence([seed, 7]).generate_state(photos).tolist()
    jobs = [_Photo(root, n, s, (int(height), int(width)), severity) for n, s in enumerate(seeds, 1)]
    pool.run(_write_photo, jobs, "rendering Clothing Co-Parsing's stand-in", workers)


def _write_photo(photo: _Photo) -> None:
    scene = draw_scene(photo.seed, size=photo.size, frames=1, severity=photo.severity, domain="single")
    frame = Renderer(scene).frame(0)
    rng = np.random.default_rng(np.random.SeedSequence([photo.seed, 8]))
    fine = np.array([NAMES.index(str(rng.choice(SOURCES[name]))) for name in CCP.names], dtype=np.uint8)
    name = f"{photo.number:04d}"
    write_image(photo.root / "photos" / f"{name}.jpg", frame.image, quality=95)
    truth = {"groundtruth": fine[frame.parts(CCP)]}
    scipy.io.savemat(str(label_file(photo.root, name)), truth, do_compression=True)
