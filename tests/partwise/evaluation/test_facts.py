"""The FACTS protocol against PaperDoll's formulas written out pixel by pixel, and its bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partwise.errors import InputError
from partwise.evaluation.facts import evaluate
from partwise.io.images import write_labels
from partwise.labels import FACTS


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Twenty images of different size; class 12 in neither, 3 in ground truth only, 9 in predictions only."""
    rng = np.random.default_rng(0)
    for n in range(20):
        size = (20 + n, 30 - n)
        truth = rng.choice([0, 1, 2, 3, 4, 255], size)
        pred = np.where(rng.random(size) < 0.6, truth, rng.choice([0, 1, 2, 4, 9], size))
        pred = np.where((truth == 3) & (pred == 3), 0, pred)
        pred[truth == 255] = rng.integers(0, 13)
        for root, labels in (("gt", truth), ("pred", pred)):
            write_labels(tmp_path / root / f"t{n % 2}" / f"{n}.png", labels, FACTS.colors)
    return tmp_path / "gt", tmp_path / "pred"


def reference(gt: Path, pred: Path) -> dict[str, float]:
    """One pixel after the other, in plain Python."""
    from PIL import Image

    n = [[0] * 13 for _ in range(13)]
    for file in gt.rglob("*.png"):
        truths, preds = Image.open(file).getdata(), Image.open(pred / file.relative_to(gt)).getdata()
        for t, p in zip(truths, preds, strict=True):
            if t != 255:
                n[t][p] += 1
    row, col = [sum(r) for r in n], [sum(n[i][j] for i in range(13)) for j in range(13)]
    hit = [n[c][c] for c in range(13)]

    def mean(values: list[float]) -> float:
        return 100 * sum(values) / len(values)

    return {
        "accuracy": 100 * sum(hit) / sum(row),
        "fg_accuracy": 100 * sum(hit[1:]) / sum(row[1:]),
        "avg_precision": mean([hit[c] / col[c] for c in range(13) if col[c]]),
        "avg_recall": mean([hit[c] / row[c] for c in range(13) if row[c]]),
        "avg_f1": mean([2 * hit[c] / (row[c] + col[c]) for c in range(13) if row[c] + col[c]]),
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_equals_the_formulas(folders: tuple[Path, Path], workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partwise.evaluation.files._WORTH_A_PROCESS", 2)
    metrics = evaluate(*folders, workers=workers)
    for name, value in reference(*folders).items():
        assert metrics[name] == pytest.approx(value, abs=1e-9)
    assert metrics["f1_per_class"][3] == metrics["f1_per_class"][9] == 0  # seen on one side only
    assert metrics["f1_per_class"][12] is None


def test_nothing_but_ignored_pixels_is_undefined(tmp_path: Path) -> None:
    for root, value in (("gt", 255), ("pred", 1)):
        write_labels(tmp_path / root / "a.png", np.full((4, 4), value), FACTS.colors)
    assert evaluate(tmp_path / "gt", tmp_path / "pred", workers=1)["accuracy"] is None


def _replace(name: str, labels: np.ndarray) -> Callable[[Path], None]:
    return lambda pred: write_labels(pred / name, labels, FACTS.colors)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda pred: (pred / "t0/0.png").unlink(), "t0/0.png is missing"),
        (_replace("t0/9.png", np.zeros((4, 4))), "t0/9.png has no ground truth"),
        (_replace("t0/0.png", np.zeros((4, 4))), "t0/0.png is 4x4 but its ground truth is 30x20"),
        (_replace("t0/0.png", np.full((20, 30), 13)), "label 13 in .*t0/0.png"),
        (_replace("t0/0.png", np.full((20, 30), 255)), "label 255 in .*t0/0.png"),
        (lambda pred: (pred / "t0/0.png").write_bytes(b"no"), "t0/0.png is damaged"),
    ],
)
def test_bad_predictions_are_named(folders: tuple[Path, Path], spoil: Callable[[Path], None], message: str) -> None:
    spoil(folders[1])
    with pytest.raises(InputError, match=message):
        evaluate(*folders, workers=2)


def test_bad_folders_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        evaluate(folders[0], tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no PNG"):
        evaluate(folders[0], tmp_path / "empty")


def test_unknown_labels_of_the_ground_truth_are_named(folders: tuple[Path, Path]) -> None:
    _replace("t1/1.png", np.full((21, 29), 14))(folders[0])
    with pytest.raises(InputError, match=r"label 14 in .*gt/t1/1.png"):
        evaluate(*folders, workers=1)


def test_pictures_beside_the_maps_are_left_out(folders: tuple[Path, Path]) -> None:
    before = evaluate(*folders, workers=1)
    write_labels(folders[1] / "t0" / "color" / "0.png", np.zeros((4, 4)), FACTS.colors)
    assert evaluate(*folders, workers=1) == before
    assert not any(isinstance(v, float) and math.isnan(v) for v in before.values())
