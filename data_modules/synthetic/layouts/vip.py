"""The stand-in in VIP's native layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import write_instances
from data_modules.synthetic.layouts.shots import QUALITY, Shot, plan
from data_modules.synthetic.render.renderer import Renderer
from partwise.arrays import UInt8Array
from partwise.io.atomic import write_text
from partwise.io.images import write_image, write_labels
from partwise.labels import VIP

SPLITS = ("train", "val", "test")


def write_vip(
    root: Path,
    *,
    videos: Mapping[str, int],
    frames_per_video: int = 26,
    size: Sequence[int] = (128, 128),
    severity: float = 0.5,
    seed: int = 0,
    annotate_every: int = 5,
    adjacent: int = 10,
    domain: str = "video",
    workers: int | None = None,
) -> None:
    """Write VIP_Fine and VIP_Sequence with rendered people.

    Images/videosN/%012d.jpg are the annotated frames, counted from 1; Annotations/ holds Category_ids,
    Category_rev_ids (of the flipped image), Human_ids and Instance_ids; adjacent_frames/videosN/ID/ the frames
    around frame ID; front_frame_list and behind_frame_list the earlier and the later ones, nearest first, by name;
    truth/ the scenes.

    Args:
        root: folder to write into.
        videos: number of videos of the splits train, val and test.
        frames_per_video: frames of each.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        annotate_every: distance of annotated frames; VIP's is 25.
        adjacent: neighbours kept on each side of an annotated frame.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    like = Shot.like(root, size, severity, domain, frames_per_video)
    shots = plan(like, videos, SPLITS, "videos{number}", seed=seed, stream=None)
    annotated = range(0, frames_per_video, annotate_every)
    _write_lists(root / "lists", shots, annotated)
    pool.run(partial(_write_video, annotated=annotated, adjacent=adjacent), shots, "rendering VIP's stand-in", workers)


def _write_lists(folder: Path, shots: Sequence[Shot], annotated: range) -> None:
    for name, splits in (*((s, (s,)) for s in SPLITS), ("trainval", ("train", "val"))):
        rows = [f"{shot.name}/{_stem(t)}" for shot in shots if shot.split in splits for t in annotated]
        _write_rows(folder / f"{name}_id.txt", rows)
    _write_rows(folder / "val_videos.txt", [shot.name for shot in shots if shot.split == "val"])


def _write_video(shot: Shot, annotated: range, adjacent: int) -> None:
    """Write one video.

    Args:
        shot: the video.
        annotated: its annotated frames, 0-based.
        adjacent: frames kept on each side of an annotated one.
    """
    renderer = shot.video()
    images, folder = _Images(renderer), shot.root / "Annotations"
    for t in annotated:
        frame, name = renderer.frame(t), f"{shot.name}/{_stem(t)}"
        parts = write_instances(folder, name, frame, VIP)
        write_labels(folder / "Category_rev_ids" / f"{name}.png", VIP.flip_table[parts[:, ::-1]], VIP.colors)
        images.place(t, shot.root / "Images" / f"{name}.jpg", frame.image)
    for t in annotated:
        _write_neighbours(shot, t, adjacent, images)


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


def _write_neighbours(shot: Shot, t: int, adjacent: int, images: _Images) -> None:
    before = range(t - 1, max(t - adjacent, 0) - 1, -1)
    after = range(t + 1, min(t + adjacent, shot.frames - 1) + 1)
    for s in (*before, *after):
        images.place(s, shot.root / "adjacent_frames" / shot.name / _stem(t) / f"{_stem(s)}.jpg")
    for name, frames in (("front_frame_list", before), ("behind_frame_list", after)):
        _write_rows(shot.root / name / shot.name / f"{_stem(t)}.txt", [_stem(s) for s in frames])


def _write_rows(file: Path, rows: Sequence[str]) -> None:
    write_text(file, "".join(f"{row}\n" for row in rows))


def _stem(t: int) -> str:
    """File name of a 0-based frame: VIP counts from 1."""
    return f"{t + 1:012d}"
