"""The stand-in in CIHP's native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.datasets.cihp import CIHP, FOLDERS
from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import write_instances
from data_modules.synthetic.layouts.shots import Shot, plan, write_list

SPLITS = ("train", "val")


def write_cihp(
    root: Path,
    *,
    images: Mapping[str, int],
    size: Sequence[int] = (128, 128),
    severity: float = 0.3,
    seed: int = 0,
    domain: str = "video",
    workers: int | None = None,
) -> None:
    """Write instance-level_human_parsing/{Training,Validation}/ with one to six rendered people a picture.

    Args:
        root: folder to write into.
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    shots = plan(Shot.like(root, size, severity, domain), images, SPLITS, "{number:07d}", seed=seed, stream=12)
    for split in SPLITS:
        write_list(_folder(root, split) / f"{split}_id.txt", shots, split)
    pool.run(_write, shots, "rendering CIHP's stand-in", workers)


def _write(shot: Shot) -> None:
    folder = _folder(shot.root, shot.split)
    frame = shot.picture(folder / "Images" / f"{shot.name}.jpg")
    write_instances(folder, shot.name, frame, CIHP.label_set)


def _folder(root: Path, split: str) -> Path:
    return root / "instance-level_human_parsing" / FOLDERS[split]
