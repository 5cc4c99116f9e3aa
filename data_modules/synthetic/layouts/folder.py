"""The stand-in as somebody's own frames: a folder a video, few of the frames labelled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, Shot, line_up
from data_modules.synthetic.render.renderer import Renderer
from partwise.io.images import write_image, write_labels
from partwise.labels import PASCAL_PERSON_PART


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
    like = Shot.like(root, size, severity, "labelled", frames_per_video)
    shots = line_up(like, [""] * videos, "video{number}", seed=seed, stream=9)
    pool.run(partial(_write_video, annotate_every=annotate_every), shots, "rendering labelled frames", workers)


def _write_video(shot: Shot, annotate_every: int) -> None:
    renderer = Renderer(shot.scene())
    for t in range(shot.frames):
        name = f"{shot.name}/{t:04d}"
        write_image(shot.root / "frames" / f"{name}.jpg", renderer.image(t), quality=QUALITY)
        if t % annotate_every == 0:
            labels = shot.root / "labels" / f"{name}.png"
            write_labels(labels, renderer.frame(t).parts(PASCAL_PERSON_PART), PASCAL_PERSON_PART.colors)
