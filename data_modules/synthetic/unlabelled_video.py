"""The stand-in of unlabelled video: folders of rendered frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.synthetic import pool
from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from data_modules.synthetic.truth import save_truth
from partwise.media import write_image

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Video:
    """One video to be written: path below the root, scene seed, (height, width), frames, severity and domain."""

    root: Path
    name: str
    seed: int
    size: tuple[int, int]
    frames: int
    severity: float
    domain: str


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
    if unknown := set(videos) - set(SPLITS):
        raise ValueError(f"there is no split {', '.join(sorted(unknown))}; the splits are {', '.join(SPLITS)}")
    height, width = (int(side) for side in size)
    jobs = []
    for s, split in enumerate(SPLITS):
        for n in range(videos.get(split, 0)):
            own = int(np.random.SeedSequence([seed, s, n, 29]).generate_state(1)[0])
            name = f"{split}/{n:04d}"
            jobs.append(_Video(root, name, own, (height, width), frames_per_video, severity, domain))
    pool.run(_write_video, jobs, "rendering unlabelled video", workers)


def _write_video(video: _Video) -> None:
    scene = draw_scene(video.seed, size=video.size, frames=video.frames, severity=video.severity, domain=video.domain)
    save_truth(video.root, video.name, scene)
    renderer = Renderer(scene)
    for t in range(video.frames):
        write_image(video.root / video.name / f"{t:06d}.jpg", renderer.image(t), quality=95)
