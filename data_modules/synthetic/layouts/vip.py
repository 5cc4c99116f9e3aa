"""Write the stand-in of VIP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_modules.datasets.vip import ADJACENT, IMAGES, LABELLED, LISTS
from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import write_instances
from data_modules.synthetic.layouts.shots import QUALITY, SceneWriter, Shot
from data_modules.synthetic.layouts.writer import write_rows
from data_modules.synthetic.render.renderer import Renderer
from partwise.arrays import UInt8Array
from partwise.io.images import write_image, write_labels
from partwise.labels import VIP


@dataclass(frozen=True, kw_only=True)
class VIPWriter(SceneWriter):
    """Writes VIP_Fine and VIP_Sequence with rendered people.

    Images/videosN/%012d.jpg are the annotated frames, counted from 1; Annotations/ holds Category_ids,
    Category_rev_ids (of the flipped image), Human_ids and Instance_ids; adjacent_frames/videosN/ID/ the frames
    around frame ID; front_frame_list and behind_frame_list the earlier and the later ones, nearest first, by name;
    truth/ the scenes.

    Args:
        videos: number of videos of the splits train, val and test.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        annotate_every: distance of annotated frames; VIP's is 25.
        adjacent: neighbours kept on each side of an annotated frame.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "vip"
    splits = ("train", "val", "test")

    videos: Mapping[str, int]
    frames_per_video: int = 26
    severity: float = 0.5
    annotate_every: int = 5
    adjacent: int = 10
    domain: str = "video"

    def write(self, root: Path) -> None:
        """Write the lists and the videos into the empty folder `root`."""
        like = self.shot(root, self.domain, self.frames_per_video)
        shots = self.plan(like, self.videos, "videos{number}", stream=None)
        self._write_lists(root / LISTS, shots)
        pool.run(self._write_video, shots, "rendering VIP's stand-in", self.workers)

    @property
    def _annotated(self) -> range:
        """The annotated frames of a video, counted from 0."""
        return range(0, self.frames_per_video, self.annotate_every)

    def _write_lists(self, folder: Path, shots: Sequence[Shot]) -> None:
        for name, splits in (*((s, (s,)) for s in self.splits), ("trainval", ("train", "val"))):
            rows = [f"{shot.name}/{_stem(t)}" for shot in shots if shot.split in splits for t in self._annotated]
            write_rows(folder / f"{name}_id.txt", rows)
        write_rows(folder / "val_videos.txt", [shot.name for shot in shots if shot.split == "val"])

    def _write_video(self, shot: Shot) -> None:
        renderer = shot.video()
        images, folder = _Images(renderer), shot.root / LABELLED
        for t in self._annotated:
            frame, name = renderer.frame(t), f"{shot.name}/{_stem(t)}"
            parts = write_instances(folder, name, frame, VIP)
            write_labels(folder / "Category_rev_ids" / f"{name}.png", VIP.flip_table[parts[:, ::-1]], VIP.colors)
            images.place(t, shot.root / IMAGES / f"{name}.jpg", frame.image)
        for t in self._annotated:
            self._write_neighbours(shot, t, images)

    def _write_neighbours(self, shot: Shot, t: int, images: _Images) -> None:
        before = range(t - 1, max(t - self.adjacent, 0) - 1, -1)
        after = range(t + 1, min(t + self.adjacent, shot.frames - 1) + 1)
        for s in (*before, *after):
            images.place(s, shot.root / ADJACENT / shot.name / _stem(t) / f"{_stem(s)}.jpg")
        for name, frames in (("front_frame_list", before), ("behind_frame_list", after)):
            write_rows(shot.root / name / shot.name / f"{_stem(t)}.txt", [_stem(s) for s in frames])


class _Images:
    """Writes the JPEG of a frame when it is first asked for and links to it from then on."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._written: dict[int, Path] = {}

    def place(self, t: int, file: Path, image: UInt8Array | None = None) -> None:
        """Put frame t's image at `file`, rendering it where it is neither given nor written yet."""
        first = self._written.setdefault(t, file)
        if first == file:
            write_image(file, self._renderer.image(t) if image is None else image, quality=QUALITY)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(first, file)
        except OSError:  # a file system without hard links
            shutil.copyfile(first, file)


def _stem(t: int) -> str:
    """File name of a 0-based frame: VIP counts from 1."""
    return f"{t + 1:012d}"
