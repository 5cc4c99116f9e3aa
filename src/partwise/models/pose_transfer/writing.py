"""Write labels of persons of whom only poses are known, as a dataset of frames and label maps with its provenance."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from rich.progress import TimeRemainingColumn

from partwise import viz
from partwise.arrays import Float32Array, Picture
from partwise.io.atomic import write_json
from partwise.io.images import write_image, write_labels
from partwise.io.progress import counter
from partwise.models.pose_transfer.labelling import Labeller, ignore_unknown
from partwise.models.pose_transfer.library import comparable

FRAMES, LABELS, PROVENANCE = "frames", "labels", "provenance"


class Poses(Protocol):
    """Pictures of persons whose poses are known."""

    ids: list[str]

    def picture(self, index: int) -> Picture:
        """Read a picture (H, W, 3) RGB."""
        ...

    def labels(self, name: str, size: tuple[int, int]) -> Any:
        """Read the labels of a picture (H, W), `keypoints` (N, K, 3) among them."""
        ...


class Posed(NamedTuple):
    """A picture and the poses in it."""

    name: str
    picture: Picture
    poses: Float32Array


@dataclass
class Summary:
    """Counts of what a dataset of labels holds.

    Attributes:
        pictures: with labels.
        persons: that labels were made for.
        skipped: pictures in which nobody's pose is known well enough.
    """

    pictures: int = 0
    persons: int = 0
    skipped: int = 0


def write_dataset(
    labeller: Labeller, poses: Poses, folder: Path, persons: int | None = None, threads: int = 1
) -> Summary:
    """Label every picture and write frames/NAME.jpg, labels/NAME.png and provenance/NAME.json.

    Who has too few joints for a label is ignored (255) in the labels of the others' picture.
    Provenance has, for each person by number, the names of those whose parts the label comes from, and the distances of
    their poses. It is written last: a picture that has it is not labelled again.

    Args:
        labeller: makes the labels.
        poses: the pictures.
        folder: of the dataset, with the classes of the labeller's skeleton.
        persons: stop before the picture that would exceed this number; None takes all.
        threads: pictures that are worked on at once.

    Returns:
        Counts.

    Raises:
        InputError: a file cannot be read or written.
    """
    chosen = _first(poses, labeller, persons)

    def work(index: int) -> int:
        given = _read(poses, index)
        done = folder / PROVENANCE / f"{_stem(given.name)}.json"
        return _enough(labeller, given) if done.exists() else _label(labeller, given, folder)

    summary = Summary()
    pool = ThreadPoolExecutor(threads)
    try:
        with counter(TimeRemainingColumn()) as progress:
            for found in progress.track(pool.map(work, chosen), total=len(chosen), description="labelling"):
                summary.persons += found
                summary.pictures += found > 0
                summary.skipped += found == 0
    finally:  # what was interrupted leaves the rest undone
        pool.shutdown(cancel_futures=True)
    return summary


def _first(poses: Poses, labeller: Labeller, persons: int | None) -> list[int]:
    """The first pictures with no more than a number of persons together."""
    if persons is None:
        return list(range(len(poses.ids)))
    chosen, count = [], 0
    for index in range(len(poses.ids)):
        count += _enough(labeller, _read(poses, index))
        if count > persons:
            break
        chosen.append(index)
    return chosen


def _read(poses: Poses, index: int) -> Posed:
    picture = poses.picture(index)
    return Posed(poses.ids[index], picture, poses.labels(poses.ids[index], picture.shape[:2])["keypoints"])


def _enough(labeller: Labeller, given: Posed) -> int:
    """How many persons of a picture have poses that can be compared."""
    return int(comparable(labeller.priors.library.skeleton, torch.from_numpy(given.poses).float()).sum())


def _label(labeller: Labeller, given: Posed, folder: Path) -> int:
    image = torch.from_numpy(given.picture).permute(2, 0, 1).float() / 255
    poses = torch.from_numpy(given.poses).float()
    parts, sources = labeller.label(image, poses, given.name)
    name = _stem(given.name)
    if sources:
        write_image(folder / FRAMES / f"{name}.jpg", given.picture, quality=95)
        labels = ignore_unknown(parts, poses, sources)
        write_labels(folder / LABELS / f"{name}.png", labels.numpy(), viz.palette())
    about = {str(n): [[source.name, round(source.distance, 3)] for source in those] for n, those in sources.items()}
    write_json(folder / PROVENANCE / f"{name}.json", {"picture": given.name, "persons": about})
    return len(sources)


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix()
