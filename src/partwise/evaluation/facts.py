"""Score FACTS by TCNet's protocol: folders of label maps with 13 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from partwise.arrays import Int64Array
from partwise.evaluation.files import each, label_files, paired
from partwise.evaluation.runs_of_pixels import confusion, joint_runs
from partwise.evaluation.vip import read_part_maps
from partwise.labels import FACTS as LABEL_SET
from partwise.scores.defined import defined
from partwise.scores.facts import facts_scores


def evaluate(gt: Path, pred: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Score a folder of label maps.

    Args:
        gt: folder of indexed PNGs, 255 = ignored.
        pred: folder with the same relative paths.
        workers: processes; None takes one a core.

    Returns:
        Accuracies, precision, recall and F-1 in percent; None where undefined.

    Raises:
        InputError: a map is missing, of another size, or holds an unknown label; there are other maps, or none.
    """
    images = paired(label_files(gt, "ground truth"), label_files(pred, "predictions"), pred)
    counts = each(_count, images, workers=workers, title="images")
    metrics = facts_scores(np.sum(list(counts), axis=0))
    return {
        **{name: defined(value) for name, value in metrics.items() if isinstance(value, float)},
        "f1_per_class": [defined(value) for value in metrics["f1_per_class"]],
    }


def _count(files: tuple[Path, Path]) -> Int64Array:
    """(C, C) pixels of one image by true and predicted class."""
    (truth, pred), runs = joint_runs(read_part_maps(files, LABEL_SET))
    return confusion((truth, pred), runs, LABEL_SET, files[1])
