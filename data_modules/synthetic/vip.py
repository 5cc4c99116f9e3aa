"""The stand-in in VIP's native layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from data_modules.synthetic import pool
from data_modules.synthetic.render import Frame, Renderer
from data_modules.synthetic.scene import draw_scene
from data_modules.synthetic.truth import save_truth
from partwise.labels import VIP

SPLITS = ("train", "val", "test")
UInt8 = npt.NDArray[np.uint8]

#: JPEG quality of what is written; the compression that is part of the corruption comes before.
_QUALITY = 95


@dataclass(frozen=True)
class _Video:
    """One video to be written.

    Attributes:
        root: folder of the layout.
        name: videosN.
        seed: of its scene.
        size: (height, width) in pixels.
        frames: how many are rendered.
        annotate_every: distance of annotated frames.
        adjacent: frames kept on each side of an annotated one.
        severity: of the corruption.
        domain: of the scene.
    """

    root: Path
    name: str
    seed: int
    size: tuple[int, int]
    frames: int
    annotate_every: int
    adjacent: int
    severity: float
    domain: str

    @property
    def annotated(self) -> range:
        """Annotated frames, 0-based."""
        return range(0, self.frames, self.annotate_every)


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
    if unknown := set(videos) - set(SPLITS):
        raise ValueError(f"VIP has no split {', '.join(sorted(unknown))}; its splits are {', '.join(SPLITS)}")
    height, width = size
    like = _Video(root, "", 0, (int(height), int(width)), frames_per_video, annotate_every, adjacent, severity, domain)
    jobs = _name_videos(like, videos, seed)
    _write_lists(root / "lists", jobs)
    pool.run(_write_video, [job for split in SPLITS for job in jobs[split]], "rendering VIP's stand-in", workers)


def _name_videos(like: _Video, videos: Mapping[str, int], seed: int) -> dict[str, list[_Video]]:
    """Number the videos of all splits; a video's seed does not depend on how many the other splits have."""
    numbers = count(1)

    def seed_of(split: int, n: int) -> int:
        return int(np.random.SeedSequence([seed, split, n]).generate_state(1)[0])

    return {
        split: [replace(like, name=f"videos{next(numbers)}", seed=seed_of(s, n)) for n in range(videos.get(split, 0))]
        for s, split in enumerate(SPLITS)
    }


def _write_lists(folder: Path, jobs: Mapping[str, list[_Video]]) -> None:
    folder.mkdir(parents=True)
    for name, splits in (*((s, (s,)) for s in SPLITS), ("trainval", ("train", "val"))):
        rows = [f"{job.name}/{_stem(t)}" for split in splits for job in jobs[split] for t in job.annotated]
        _write_rows(folder / f"{name}_id.txt", rows)
    _write_rows(folder / "val_videos.txt", [job.name for job in jobs["val"]])


def _write_video(video: _Video) -> None:
    scene = draw_scene(video.seed, size=video.size, frames=video.frames, severity=video.severity, domain=video.domain)
    renderer = Renderer(scene)
    save_truth(video.root, video.name, scene)
    images = _Images(renderer)
    for t in video.annotated:
        frame = renderer.frame(t)
        _write_annotation(video, t, frame)
        images.place(t, video.root / "Images" / video.name / f"{_stem(t)}.jpg", frame.image)
    for t in video.annotated:
        _write_neighbours(video, t, images)


class _Images:
    """Writes the JPEG of a frame when it is first asked for and links to it from then on."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._written: dict[int, Path] = {}

    def place(self, t: int, file: Path, image: UInt8 | None = None) -> None:
        """Put frame t's image at `file`, rendering it where it is neither given nor written yet."""
        file.parent.mkdir(parents=True, exist_ok=True)
        first = self._written.setdefault(t, file)
        if first == file:
            pixels = cv2.cvtColor(self._renderer.image(t) if image is None else image, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                raise OSError(f"{file} cannot be written")
            return
        try:
            os.link(first, file)
        except OSError:  # a file system without hard links
            shutil.copyfile(first, file)


def _write_neighbours(video: _Video, t: int, images: _Images) -> None:
    before = range(t - 1, max(t - video.adjacent, 0) - 1, -1)
    after = range(t + 1, min(t + video.adjacent, video.frames - 1) + 1)
    for s in (*before, *after):
        images.place(s, video.root / "adjacent_frames" / video.name / _stem(t) / f"{_stem(s)}.jpg")
    for name, frames in (("front_frame_list", before), ("behind_frame_list", after)):
        file = video.root / name / video.name / f"{_stem(t)}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_rows(file, [_stem(s) for s in frames])


def _write_annotation(video: _Video, t: int, frame: Frame) -> None:
    parts = frame.parts(VIP)
    humans = np.where(parts > 0, frame.persons, 0).astype(np.uint8)
    instances, rows = part_instances(parts, humans)
    folder = video.root / "Annotations"
    at = partial(_annotation_file, folder, video.name, _stem(t))
    _write_labels(at("Category_ids", ".png"), parts)
    _write_labels(at("Category_rev_ids", ".png"), VIP.flip_table[parts[:, ::-1]])
    _write_labels(at("Human_ids", ".png"), humans)
    _write_labels(at("Instance_ids", ".png"), instances)
    _write_rows(at("Instance_ids", ".txt"), [" ".join(map(str, row)) for row in rows])


def part_instances(parts: UInt8, humans: UInt8) -> tuple[UInt8, list[tuple[int, int, int]]]:
    """One instance for each class of each person.

    Args:
        parts: (H, W) class ids.
        humans: (H, W) person ids, 0 where parts is 0.

    Returns:
        (H, W) instance ids from 1 on, and rows of part instance id, class id, human id.
    """
    pairs = humans.astype(np.int64) * 256 + parts
    found, dense = np.unique(pairs, return_inverse=True)
    ids = np.cumsum(found > 0)  # the background keeps 0
    rows = [(int(i), int(p % 256), int(p // 256)) for i, p in zip(ids, found, strict=True) if p]
    return ids[dense].reshape(parts.shape).astype(np.uint8), rows


def _annotation_file(folder: Path, video: str, stem: str, kind: str, suffix: str) -> Path:
    file = folder / kind / video / f"{stem}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _write_labels(file: Path, labels: UInt8) -> None:
    picture = Image.fromarray(np.ascontiguousarray(labels))
    picture.putpalette(VIP.colors.tobytes())
    picture.save(file, compress_level=4)


def _write_rows(file: Path, rows: Sequence[str]) -> None:
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _stem(t: int) -> str:
    """File name of a 0-based frame: VIP counts from 1."""
    return f"{t + 1:012d}"
