"""The stand-in in LIP's native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.datasets.lip import LIP
from data_modules.synthetic import pool
from data_modules.synthetic.stills import SPLITS, Still, plan_stills, write_list
from partwise.media import write_labels


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
    stills = plan_stills(
        root, images, lambda n: f"{n}_{1000000 + n}", stream=11, size=size, severity=severity, seed=seed, domain=domain
    )
    for split in SPLITS:
        write_list(root / "TrainVal_images" / f"{split}_id.txt", stills, split)
    pool.run(_write, stills, "rendering LIP's stand-in", workers)


def _write(still: Still) -> None:
    frame = still.render(still.root / "TrainVal_images" / f"{still.split}_images" / f"{still.name}.jpg")
    labels = still.root / "TrainVal_parsing_annotations" / f"{still.split}_segmentations" / f"{still.name}.png"
    write_labels(labels, frame.parts(LIP.label_set), LIP.label_set.colors)
