"""The stand-in in CIHP's native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_modules.datasets.cihp import CIHP, FOLDERS
from data_modules.synthetic import pool
from data_modules.synthetic.stills import SPLITS, Still, plan_stills, write_list
from data_modules.synthetic.vip import part_instances
from partwise.media import write_labels, write_text


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
    stills = plan_stills(
        root, images, "{:07d}".format, stream=12, size=size, severity=severity, seed=seed, domain=domain
    )
    for split in SPLITS:
        write_list(_folder(root, split) / f"{split}_id.txt", stills, split)
    pool.run(_write, stills, "rendering CIHP's stand-in", workers)


def _write(still: Still) -> None:
    folder, colors = _folder(still.root, still.split), CIHP.label_set.colors
    frame = still.render(folder / "Images" / f"{still.name}.jpg")
    parts = frame.parts(CIHP.label_set)
    humans = np.where(parts > 0, frame.persons, 0).astype(np.uint8)
    instances, rows = part_instances(parts, humans)
    for kind, ids in (("Category_ids", parts), ("Human_ids", humans), ("Instance_ids", instances)):
        write_labels(folder / kind / f"{still.name}.png", ids, colors)
    text = "".join(f"{' '.join(map(str, row))}\n" for row in rows)
    write_text(folder / "Instance_ids" / f"{still.name}.txt", text)


def _folder(root: Path, split: str) -> Path:
    return root / "instance-level_human_parsing" / FOLDERS[split]
