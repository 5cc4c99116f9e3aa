"""Write the stand-in of a user's own frames: a folder a video, few of the frames labelled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from data_modules.synthetic.render.renderer import Renderer
from partwise.io.images import write_image, write_labels
from partwise.labels import PASCAL_PERSON_PART


@dataclass(frozen=True, kw_only=True)
class FolderWriter(SceneWriter):
    """Writes frames/videoN/%04d.jpg and, for some of them, labels/videoN/%04d.png in Pascal-Person-Part's classes.

    Args:
        videos: how many.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        annotate_every: distance of labelled frames.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "folder"

    videos: int
    frames_per_video: int = 6
    annotate_every: int = 5

    def write(self, root: Path) -> None:
        """Write the frames and label maps into the empty folder `root`."""
        like = self.shot(root, "labelled", self.frames_per_video)
        shots = self.line_up(like, [""] * self.videos, "video{number}", stream=9)
        pool.run(self._write_video, shots, "rendering labelled frames", self.workers)

    def _write_video(self, shot: Shot) -> None:
        renderer = Renderer(shot.scene())
        for t in range(shot.frames):
            name = f"{shot.name}/{t:04d}"
            write_image(shot.root / "frames" / f"{name}.jpg", renderer.image(t), quality=QUALITY)
            if t % self.annotate_every == 0:
                labels = shot.root / "labels" / f"{name}.png"
                write_labels(labels, renderer.frame(t).parts(PASCAL_PERSON_PART), PASCAL_PERSON_PART.colors)
