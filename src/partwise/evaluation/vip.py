"""Score VIP (Zhou et al., ACM MM 2018): parts, persons and part instances of frames, from files as ATEN writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from partwise.arrays import Int32Array, IntArray, UInt8Array
from partwise.errors import InputError
from partwise.evaluation.files import each, label_files, paired, read_parts
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
from partwise.io.images import check_size, read_ids
from partwise.io.object_rows import (
    SCORE_AND_BOX,
    covering,
    read_instance_classes,
    read_scores,
)
from partwise.labels import VIP as LABEL_SET
from partwise.labels import LabelSet
from partwise.scores.vip import ImageCounts, vip_report

#: Folder of the ground truth; folder and beginning of the file name of the result.
_KINDS = (("Category_ids", "gray", "global_"), ("Human_ids", "gray", "inst_"), ("Instance_ids", "instance_part", ""))


class Frame(NamedTuple):
    """Maps of one frame, each of the ground truth and of the result."""

    parts: tuple[Path, Path]
    persons: tuple[Path, Path]
    part_instances: tuple[Path, Path]


def evaluate(gt: Path, pred: Path, *, workers: int | None = None) -> dict[str, object]:
    """Score a folder of results.

    Args:
        gt: `Category_ids/`, `Human_ids/` and `Instance_ids/` with PNGs of the same names, there or in `Annotations/`;
            beside those of `Instance_ids/` txt with rows "part_instance_id class_id human_id".
        pred: for the frame VIDEO/ID: `VIDEO/gray/global_ID.png`; `VIDEO/gray/inst_ID.png` and `scores_ID.txt` with rows
            "score y1 x1 y2 x2"; `VIDEO/instance_part/ID.png` and `ID.txt` with rows "class score".
        workers: processes; None takes one a core.

    Returns:
        IoU of parts, AP^r of persons and of part instances, percent; None where undefined.

    Raises:
        InputError: a file is missing, damaged or does not fit the others; there are other results, or none.
    """
    return vip_report(list(each(_count, find_frames(gt, pred), workers=workers, title="frames")))


def find_frames(gt: Path, pred: Path) -> list[Frame]:
    """Find the annotated frames, each with its result.

    Args:
        gt: folder of the ground truth, as `evaluate` takes it.
        pred: folder of the results, as `evaluate` takes it.

    Returns:
        The frames in order.

    Raises:
        InputError: ground truth or results are incomplete.
    """
    root = gt / "Annotations" if (gt / "Annotations" / _KINDS[0][0]).is_dir() else gt
    truths = true_maps([root / kind for kind, _, _ in _KINDS])
    results = label_files(pred, "predictions")
    pairs = []
    for files, (_, folder, prefix) in zip(truths, _KINDS, strict=True):
        expected = {_result_name(name, folder, prefix): file for name, file in files.items()}
        found = {n: f for n, f in results.items() if f.parent.name == folder and f.name.startswith(prefix)}
        pairs.append(paired(expected, found, pred))
    return [Frame(*frame) for frame in zip(*pairs, strict=True)]


def true_maps(folders: Sequence[Path]) -> list[dict[str, Path]]:
    """Find the maps of the ground truth.

    Args:
        folders: one a kind of map.

    Returns:
        For each folder its maps by name, in the same order.

    Raises:
        InputError: a folder is missing, or lacks a map that another one has.
    """
    kinds = [label_files(folder, "ground truth") for folder in folders]
    for name in dict.fromkeys(name for files in kinds for name in files):
        for folder, files in zip(folders, kinds, strict=True):
            if name not in files:
                needed = ", ".join(f"{other.name}/" for other in folders)
                raise InputError(f"{folder / name} is missing; each image of the ground truth needs one in {needed}")
    return kinds


def read_part_maps(files: tuple[Path, Path], label_set: LabelSet) -> list[UInt8Array]:
    """Read the part maps of an image.

    Args:
        files: the true and the predicted one.
        label_set: of their labels.

    Returns:
        True and predicted map (H, W).

    Raises:
        InputError: a map cannot be read, holds an unknown label, or they differ in size.
    """
    truth = read_parts(files[0], label_set)
    return [truth, read_parts(files[1], label_set, like=truth)]


def read_sized_ids(file: Path, size: tuple[int, ...]) -> Int32Array:
    """Read the ids of objects.

    Args:
        file: the map.
        size: (H, W) of the image's true part map.

    Returns:
        (H, W), 0 = nobody.

    Raises:
        InputError: the map cannot be read or has another size.
    """
    ids = read_ids(file)
    check_size(ids, size, file, "the true part map")
    return ids


def _result_name(name: str, folder: str, prefix: str) -> str:
    """VIDEO/FOLDER/PREFIXframe.png, where the result of VIDEO/frame.png lies."""
    path = PurePosixPath(name)
    return (path.parent / folder / f"{prefix}{path.name}").as_posix()


def _count(frame: Frame) -> ImageCounts:
    parts = read_part_maps(frame.parts, LABEL_SET)
    size = parts[0].shape
    human, part = ([read_sized_ids(file, size) for file in files] for files in frame[1:])
    (truth, pred, true_human, human_ids, true_part, part_ids), runs = joint_runs([*parts, *human, *part])
    scores = frame.persons[1].with_name(f"scores_{frame.persons[1].stem.removeprefix('inst_')}.txt")
    return count(
        confusion((truth, pred), runs, LABEL_SET, frame.parts[1]),
        (true_persons(true_human), persons(human_ids, frame.persons[1], read_scores(scores, SCORE_AND_BOX), scores)),
        (_true_parts(true_part, frame.part_instances[0]), part_instances(part_ids, frame.part_instances[1], LABEL_SET)),
        runs,
    )


def _true_parts(ids: IntArray, file: Path) -> Objects:
    """Objects by the rows beside their map; rows without pixels are none."""
    ids, found = numbered(ids)
    classes = covering(found, read_instance_classes(file.with_suffix(".txt"), LABEL_SET.num_classes), file)
    return Objects(ids, np.array([classes[i] for i in found.tolist()], dtype=np.int64))
