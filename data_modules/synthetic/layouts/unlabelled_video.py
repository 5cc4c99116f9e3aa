"""The stand-in of unlabelled video: folders of rendered frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, Shot, plan
from partwise.io.images import write_image

SPLITS = ("train", "val", "test")


def write_unlabelled_video(
    root: Path,
    *,
    videos: Mapping[str, int],
    frames_per_video: int = 30,
    size: Sequence[int] = (192, 256),
    severity: float = 0.5,
    seed: int = 0,
    domain: str = "video",
    workers: int | None = None,
) -> None:
    """Write SPLIT/%04d/%06d.jpg with rendered people, and truth/ with the scenes.

    Args:
        root: folder to write into.
        videos: number of them in the splits train, val and test.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    like = Shot.like(root, size, severity, domain, frames_per_video)
    shots = plan(like, videos, SPLITS, "{split}/{n:04d}", seed=seed, stream=29)
    pool.run(_write_video, shots, "rendering unlabelled video", workers)


def _write_video(shot: Shot) -> None:
    renderer = shot.video()
    for t in range(shot.frames):
        write_image(shot.root / shot.name / f"{t:06d}.jpg", renderer.image(t), quality=QUALITY)
