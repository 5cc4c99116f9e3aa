"""The stand-in in DAVIS's native layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_modules.synthetic import pool
from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from data_modules.synthetic.truth import save_truth
from partwise.labels import FOREGROUND, voc_colors
from partwise.media import atomic, write_image, write_labels, write_text

SPLITS = ("train", "val", "test")
RELEASES = (2016, 2017)


@dataclass(frozen=True)
class _Sequence:
    """One sequence to be written.

    Attributes:
        root: folder of the layout.
        name: of its folders.
        seed: of its scene.
        size: (height, width) in pixels.
        frames: how many.
        severity: of the corruption.
        domain: of the scene.
        release: whose masks it gets.
    """

    root: Path
    name: str
    seed: int
    size: tuple[int, int]
    frames: int
    severity: float
    domain: str
    release: int


def write_davis(
    root: Path,
    *,
    sequences: Mapping[str, int],
    frames_per_sequence: int = 40,
    size: Sequence[int] = (240, 432),
    severity: float = 0.3,
    seed: int = 0,
    release: int = 2016,
    domain: str = "video",
    workers: int | None = None,
) -> None:
    """Write videos of rendered people, who are the foreground in every frame.

    JPEGImages/480p/SEQ/%05d.jpg and Annotations/480p/SEQ/%05d.png are counted from 0. Release 2016 has masks of 0 and
    255 and ImageSets/480p/SPLIT.txt with rows of image and mask; release 2017 has palette masks of person ids and
    ImageSets/2016/SPLIT.txt with sequence names. truth/ holds the scenes.

    Args:
        root: folder to write into.
        sequences: number of them in the splits train, val and test; the 2016 protocol has no test and tests on val.
        frames_per_sequence: frames of each.
        size: (height, width) in pixels; the folders are called 480p whatever it is.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        release: 2016 or 2017.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    if unknown := set(sequences) - set(SPLITS):
        raise ValueError(f"DAVIS has no split {', '.join(sorted(unknown))}; its splits are {', '.join(SPLITS)}")
    if release not in RELEASES:
        raise ValueError(f"release {release} is none of {', '.join(map(str, RELEASES))}")
    height, width = (int(side) for side in size)
    jobs = []
    for s, split in enumerate(SPLITS):
        names = [f"{split}-{n:02d}" for n in range(sequences.get(split, 0))]
        if names:
            _write_list(root, split, names, frames_per_sequence, release)
        for n, name in enumerate(names):
            own = int(np.random.SeedSequence([seed, s, n, 11]).generate_state(1)[0])
            jobs.append(_Sequence(root, name, own, (height, width), frames_per_sequence, severity, domain, release))
    pool.run(_write_sequence, jobs, "rendering DAVIS's stand-in", workers)


def _write_list(root: Path, split: str, names: Sequence[str], frames: int, release: int) -> None:
    if release == 2017:
        write_text(root / "ImageSets" / "2016" / f"{split}.txt", "".join(f"{name}\n" for name in names))
        return
    at = [f"{name}/{t:05d}" for name in names for t in range(frames)]
    rows = "".join(f"/JPEGImages/480p/{n}.jpg /Annotations/480p/{n}.png\n" for n in at)
    write_text(root / "ImageSets" / "480p" / f"{split}.txt", rows)


def _write_sequence(job: _Sequence) -> None:
    scene = draw_scene(job.seed, size=job.size, frames=job.frames, severity=job.severity, domain=job.domain)
    save_truth(job.root, job.name, scene)
    renderer = Renderer(scene)
    for t in range(job.frames):
        frame = renderer.frame(t)
        seen = frame.parts(FOREGROUND) > 0
        write_image(job.root / "JPEGImages" / "480p" / job.name / f"{t:05d}.jpg", frame.image, quality=95)
        mask = job.root / "Annotations" / "480p" / job.name / f"{t:05d}.png"
        if job.release == 2017:
            write_labels(mask, np.where(seen, frame.persons, 0), voc_colors())
        else:
            _write_grey(mask, seen)


def _write_grey(file: Path, seen: npt.NDArray[np.bool_]) -> None:
    """The 2016 release's masks (H, W) are greyscale, without a palette."""
    with atomic(file) as temporary:
        Image.fromarray(np.where(seen, 255, 0).astype(np.uint8)).save(temporary, compress_level=4)
