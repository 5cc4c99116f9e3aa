"""The stand-in in LIP's native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.datasets.lip import LIP
from data_modules.loading import pool
from data_modules.synthetic.layouts.shots import Shot, plan, write_list
from partwise.io.images import write_labels

SPLITS = ("train", "val")


def write_lip(
    root: Path,
    *,
    images: Mapping[str, int],
    size: Sequence[int] = (192, 128),
    severity: float = 0.3,
    seed: int = 0,
    domain: str = "single",
    workers: int | None = None,
) -> None:
    """Write TrainVal_images/ and TrainVal_parsing_annotations/ with one rendered person a picture.

    Args:
        root: folder to write into.
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    shots = plan(
        Shot.like(root, size, severity, domain), images, SPLITS, "{number}_1{number:06d}", seed=seed, stream=11
    )
    for split in SPLITS:
        write_list(root / "TrainVal_images" / f"{split}_id.txt", shots, split)
    pool.run(_write, shots, "rendering LIP's stand-in", workers)


def _write(shot: Shot) -> None:
    frame = shot.picture(shot.root / "TrainVal_images" / f"{shot.split}_images" / f"{shot.name}.jpg")
    labels = shot.root / "TrainVal_parsing_annotations" / f"{shot.split}_segmentations" / f"{shot.name}.png"
    write_labels(labels, frame.parts(LIP.label_set), LIP.label_set.colors)
