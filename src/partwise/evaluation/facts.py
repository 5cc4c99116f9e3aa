"""FACTS, TCNet's protocol: folders of label maps with 13 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from partwise.errors import InputError
from partwise.evaluation.files import defined, each, label_files, paired, read_parts
from partwise.labels import FACTS as LABEL_SET
from partwise.metrics.facts import facts_figures
from partwise.metrics.parsing import confusion_matrix


def evaluate(gt: Path, pred: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Accuracies, precision, recall and F-1 in percent; None where undefined.

    Args:
        gt: folder of indexed PNGs, 255 = ignored.
        pred: folder with the same relative paths.
        workers: processes; None takes one a core.

    Raises:
        InputError: a map is missing, of another size, or holds an unknown label; there are other maps, or none.
    """
    images = paired(label_files(gt, "ground truth"), label_files(pred, "predictions"), pred)
    confusion = sum(each(_confusion, images, workers=workers, title="images"), torch.zeros((), dtype=torch.int64))
    figures = facts_figures(confusion)
    return {
        **{name: defined(value) for name, value in figures.items() if isinstance(value, float)},
        "f1_per_class": [defined(value) for value in figures["f1_per_class"]],
    }


def _confusion(files: tuple[Path, Path]) -> torch.Tensor:
    truth = read_parts(files[0], LABEL_SET)
    pred = read_parts(files[1], LABEL_SET, like=truth)
    try:
        return confusion_matrix(torch.from_numpy(pred), torch.from_numpy(truth), LABEL_SET.num_classes)
    except ValueError as error:
        raise InputError(f"{files[1]}: {error}; only pixels that the ground truth ignores may hold 255") from error
