"""Write the stand-in of unlabelled video: folders of rendered frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from partwise.io.images import write_image


@dataclass(frozen=True, kw_only=True)
class UnlabelledVideoWriter(SceneWriter):
    """Writes SPLIT/%04d/%06d.jpg with rendered people, and truth/ with the scenes.

    Args:
        videos: number of them in the splits train, val and test.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "unlabelled_video"
    splits = ("train", "val", "test")

    videos: Mapping[str, int]
    frames_per_video: int = 30
    size: Sequence[int] = (192, 256)
    severity: float = 0.5
    domain: str = "video"

    def write(self, root: Path) -> None:
        """Write the videos into the empty folder `root`."""
        like = self.shot(root, self.domain, self.frames_per_video)
        shots = self.plan(like, self.videos, "{split}/{n:04d}", stream=29)
        pool.run(_write_video, shots, "rendering unlabelled video", self.workers)


def _write_video(shot: Shot) -> None:
    renderer = shot.video()
    for t in range(shot.frames):
        write_image(shot.root / shot.name / f"{t:06d}.jpg", renderer.image(t), quality=QUALITY)
