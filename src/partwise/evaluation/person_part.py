"""Score Pascal-Person-Part: parts, persons and part instances of photos; the metrics of VIP with seven classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from partwise.arrays import IntArray
from partwise.evaluation.files import each, label_files, paired
from partwise.evaluation.runs_of_pixels import (
    Objects,
    confusion,
    count,
    joint_runs,
    numbered,
    part_instances,
    persons,
    true_persons,
)
from partwise.evaluation.vip import read_part_maps, read_sized_ids, true_maps
from partwise.io.object_rows import read_scores
from partwise.labels import IGNORE
from partwise.labels import PASCAL_PERSON_PART as LABEL_SET
from partwise.scores.vip import ImageCounts, vip_report


class Photo(NamedTuple):
    """Maps of one photo, each of the ground truth and of the result; the true part instances follow from the others."""

    parts: tuple[Path, Path]
    persons: tuple[Path, Path]
    part_instances: Path


def evaluate(gt: Path, pred: Path, *, workers: int | None = None) -> dict[str, object]:
    """Score folders of maps.

    A true part instance is what one person shows of one class. Parts of nobody are in none.

    Args:
        gt: `parts/ID.png` and `persons/ID.png`, 255 = ignored, of nobody.
        pred: `parts/ID.png`; `persons/ID.png` and `ID.txt` with rows "score"; `instance_part/ID.png` and `ID.txt` with
            rows "class score". IDs may have folders.
        workers: processes; None takes one a core.

    Returns:
        IoU of parts, AP^r of persons and of part instances, percent; None where undefined.

    Raises:
        InputError: a file is missing, damaged or does not fit the others; there are other results, or none.
    """
    return vip_report(list(each(_count, find_photos(gt, pred), workers=workers, title="photos")))


def find_photos(gt: Path, pred: Path) -> list[Photo]:
    """Find the annotated photos, each with its result.

    Args:
        gt: folder of the ground truth, as `evaluate` takes it.
        pred: folder of the results, as `evaluate` takes it.

    Returns:
        The photos in order.

    Raises:
        InputError: ground truth or results are incomplete.
    """
    parts, people = true_maps([gt / "parts", gt / "persons"])
    pairs = [
        paired(truths, label_files(pred / kind, "predictions"), pred / kind)
        for truths, kind in ((parts, "parts"), (people, "persons"), (parts, "instance_part"))
    ]
    return [Photo(part, person, instance[1]) for part, person, instance in zip(*pairs, strict=True)]


def _count(photo: Photo) -> ImageCounts:
    parts = read_part_maps(photo.parts, LABEL_SET)
    size = parts[0].shape
    ids = [read_sized_ids(file, size) for file in (*photo.persons, photo.part_instances)]
    (truth, pred, true_ids, person_ids, part_ids), runs = joint_runs([*parts, *ids])
    true_ids = np.where(true_ids == IGNORE, 0, true_ids)
    scores = photo.persons[1].with_suffix(".txt")
    return count(
        confusion((truth, pred), runs, LABEL_SET, photo.parts[1]),
        (true_persons(true_ids), persons(person_ids, photo.persons[1], read_scores(scores), scores)),
        (_true_parts(truth, true_ids), part_instances(part_ids, photo.part_instances, LABEL_SET)),
        runs,
    )


def _true_parts(parts: IntArray, people: IntArray) -> Objects:
    people, _ = numbered(people)
    owned = (people > 0) & (parts > 0) & (parts != IGNORE)
    ids, found = numbered(np.where(owned, people * LABEL_SET.num_classes + parts, 0))
    return Objects(ids, found % LABEL_SET.num_classes)
