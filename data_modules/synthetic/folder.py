"""The stand-in as somebody's own frames: a folder a video, few of the frames labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.synthetic import pool
from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from partwise.labels import PASCAL_PERSON_PART
from partwise.media import write_image, write_labels


@dataclass(frozen=True)
class _Video:
    """One video to be written: name, scene seed, (height, width), frames, distance of labelled ones, severity."""

    root: Path
    name: str
    seed: int
    size: tuple[int, int]
    frames: int
    annotate_every: int
    severity: float


def write_folder(
    root: Path,
    *,
    videos: int,
    frames_per_video: int = 6,
    size: Sequence[int] = (128, 128),
    annotate_every: int = 5,
    severity: float = 0.2,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Write frames/videoN/%04d.jpg and, for some of them, labels/videoN/%04d.png in Pascal-Person-Part's classes.

    Args:
        root: folder to write into.
        videos: how many.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        annotate_every: distance of labelled frames.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        workers: processes at most; the result does not depend on it.
    """
    height, width = size
    seeds = np.random.SeedSequence([seed, 9]).generate_state(videos).tolist()
    jobs = [
        _Video(root, f"video{n}", s, (int(height), int(width)), frames_per_video, annotate_every, severity)
        for n, s in enumerate(seeds, 1)
    ]
    pool.run(_write_video, jobs, "rendering labelled frames", workers)


def _write_video(video: _Video) -> None:
    scene = draw_scene(video.seed, size=video.size, frames=video.frames, severity=video.severity, domain="labelled")
    renderer = Renderer(scene)
    for t in range(video.frames):
        name = f"{video.name}/{t:04d}"
        write_image(video.root / "frames" / f"{name}.jpg", renderer.image(t), quality=95)
        if t % video.annotate_every == 0:
            labels = video.root / "labels" / f"{name}.png"
            write_labels(labels, renderer.frame(t).parts(PASCAL_PERSON_PART), PASCAL_PERSON_PART.colors)
