"""The DAVIS-2016 protocol against the official steps written out on whole pictures, and its bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from partwise.errors import InputError
from partwise.evaluation.davis2016 import evaluate
from partwise.io.images import write_labels
from partwise.labels import voc_colors

METRICS = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay"]
ROOT = Path(__file__).parents[3]


def write(file: Path, mask: np.ndarray, *, palette: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if palette:
        write_labels(file, mask, voc_colors())
    else:
        Image.fromarray(mask.astype(np.uint8)).save(file)


def blob(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """An irregular foreground, 0/1."""
    noise = ndimage.gaussian_filter(rng.random(size), 4)
    return (noise > np.quantile(noise, 0.8)).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four sequences of the 2016 release, 3 to 14 frames, predictions shifted, thinned, empty or all wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for number, (seq, length) in enumerate({"bear": 3, "goat": 4, "boat": 8, "a-goat": 14}.items()):
        for t in range(length):
            size = (60 + 10 * number, 90)
            truth = blob(rng, size)
            truth[:] = 0 if (seq, t) in {("goat", 1), ("boat", 3)} else truth
            pred = [np.roll(truth, t, 1), ndimage.binary_erosion(truth), blob(rng, size), truth][t % 4]
            pred = np.zeros(size) if seq == "boat" and t in (2, 3) else pred
            write(tmp_path / "gt" / "Annotations/480p" / seq / f"{t:05d}.png", truth * 255)
            write(tmp_path / "pred" / seq / f"{t:05d}.png", pred * (1 if seq == "boat" else 255), palette=t % 2 == 0)
            rows.append(f"/JPEGImages/480p/{seq}/{t:05d}.jpg /Annotations/480p/{seq}/{t:05d}.png")
    write_list(tmp_path / "gt", "480p", rows)
    return tmp_path / "gt", tmp_path / "pred"


def write_list(root: Path, release: str, rows: list[str]) -> None:
    file = root / "ImageSets" / release / "val.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows) + "\n")


def official_boundary(mask: np.ndarray) -> np.ndarray:
    east, south, south_east = (np.zeros_like(mask) for _ in "123")
    east[:, :-1], south[:-1], south_east[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ east) | (mask ^ south) | (mask ^ south_east)
    edge[-1], edge[:, -1] = mask[-1] ^ east[-1], mask[:, -1] ^ south[:, -1]
    edge[-1, -1] = False
    return edge


def official_frame(truth: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
    """J and F of two boolean masks."""
    union = (truth | pred).sum()
    j = (truth & pred).sum() / union if union else 1.0
    radius = int(np.ceil(0.008 * np.linalg.norm(truth.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x**2 + y**2 <= radius**2
    edges = official_boundary(truth), official_boundary(pred)
    n_truth, n_pred = (edge.sum() for edge in edges)
    precision = (edges[1] & ndimage.binary_dilation(edges[0], disk)).sum() / n_pred if n_pred else 1.0
    recall = (edges[0] & ndimage.binary_dilation(edges[1], disk)).sum() / n_truth if n_truth else 1.0
    return j, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def reference(gt: Path, pred: Path) -> dict[str, dict[str, float]]:
    """Every sequence's metrics, and those of all under the name of none."""
    sequences = {}
    for folder in sorted((gt / "Annotations/480p").iterdir()):
        files = sorted(folder.iterdir())[1:-1]
        masks = [
            (np.asarray(Image.open(f)) > 0, np.asarray(Image.open(pred / folder.name / f.name)) > 0) for f in files
        ]
        metrics = {}
        for name, values in zip("JF", np.array([official_frame(*pair) for pair in masks]).T, strict=True):
            ids = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
            bins = [values[a : b + 1] for a, b in pairwise(ids)]
            metrics[f"{name}_mean"] = values.mean()
            metrics[f"{name}_recall"] = np.mean(values > 0.5)
            metrics[f"{name}_decay"] = bins[0].mean() - bins[3].mean()
        sequences[folder.name] = metrics
    means = {name: float(np.mean([metrics[name] for metrics in sequences.values()])) for name in METRICS}
    return {**sequences, "": means}


def check(gt: Path, pred: Path, **options: int) -> dict[str, float]:
    """Compare with the reference; the metrics over all sequences."""
    metrics, expected = evaluate(gt, pred, **options), reference(gt, pred)
    assert list(metrics) == [*METRICS, "per_sequence"]
    assert set(metrics["per_sequence"]) == set(expected) - {""}
    for seq, found in {**metrics["per_sequence"], "": metrics}.items():
        assert {name: found[name] for name in METRICS} == pytest.approx(expected[seq], abs=1e-9), seq
    return metrics


@pytest.mark.parametrize("workers", [1, 2, None])
def test_equals_the_official_steps(folders: tuple[Path, Path], workers: int | None) -> None:
    metrics = check(*folders, workers=workers)
    assert 0.2 < metrics["J_mean"] < 0.8  # neither trivial nor all wrong
    assert metrics["J_decay"] != 0


def test_empty_masks(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    boat = evaluate(gt, pred)["per_sequence"]["boat"]
    scores = [official_frame(*_pair(gt, pred, t)) for t in (2, 3)]
    assert scores == [(0, 0), (1, 1)]  # nothing found of something; nothing of nothing
    assert boat["J_mean"] > 0


def _pair(gt: Path, pred: Path, t: int) -> tuple[np.ndarray, np.ndarray]:
    files = gt / f"Annotations/480p/boat/{t:05d}.png", pred / f"boat/{t:05d}.png"
    truth, called = (np.asarray(Image.open(file)) > 0 for file in files)
    return truth, called


def test_first_and_last_frame_are_not_scored(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    before = evaluate(gt, pred)
    for file in (pred / "boat/00000.png", pred / "boat/00007.png", gt / "Annotations/480p/boat/00000.png"):
        write(file, 255 - np.asarray(Image.open(file)) * (1 if "gt" in file.parts else 255))
    assert evaluate(gt, pred) == before


@pytest.mark.parametrize("ends", [["00000"], ["00000", "last"]])
def test_unscored_frames_may_be_missing_everywhere(folders: tuple[Path, Path], ends: list[str]) -> None:
    gt, pred = folders
    before = evaluate(gt, pred)
    for folder in pred.iterdir():
        files = {"00000": folder / "00000.png", "last": max(folder.iterdir())}
        for end in ends:
            files[end].unlink()
    assert evaluate(gt, pred) == before
    write(pred / "boat/00000.png", np.zeros((80, 90)))
    with pytest.raises(InputError, match=r"00000.png is missing"):
        evaluate(gt, pred)


def test_frame_in_the_middle_alone_is_scored(folders: tuple[Path, Path]) -> None:
    bear = evaluate(*folders)["per_sequence"]["bear"]
    assert bear["J_decay"] == bear["F_decay"] == 0
    assert bear["J_recall"] in (0, 1)


@pytest.fixture
def release_2017(folders: tuple[Path, Path]) -> tuple[Path, Path]:
    """The same, annotations as palette PNGs with objects 1..3 and a list of names."""
    gt, pred = folders
    shutil.rmtree(gt / "ImageSets")
    write_list(gt, "2016", ["bear", "goat", "", "boat", "a-goat"])
    for file in gt.rglob("*.png"):
        mask = np.asarray(Image.open(file)) > 0
        write(file, mask * (1 + np.indices(mask.shape)[1] % 3), palette=True)
    return gt, pred


def test_ids_of_the_2017_release_are_one_foreground(release_2017: tuple[Path, Path]) -> None:
    check(*release_2017)


def test_void_of_the_2017_release_counts_for_neither(release_2017: tuple[Path, Path]) -> None:
    gt, pred = release_2017
    file = "boat/00004.png"
    truth, called = np.array(Image.open(gt / "Annotations/480p" / file)), np.array(Image.open(pred / file))
    truth[:, 40:] = 255
    write(gt / "Annotations/480p" / file, truth, palette=True)
    with_void = evaluate(gt, pred)
    truth[:, 40:], called[:, 40:] = 0, 0
    write(gt / "Annotations/480p" / file, truth, palette=True)
    write(pred / file, called)
    assert with_void == evaluate(gt, pred)


def test_list_of_2016_comes_first(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    write_list(gt, "2016", ["elephant"])
    assert list(evaluate(gt, pred)["per_sequence"]) == ["bear", "goat", "boat", "a-goat"]


def test_only_the_listed_sequences_count(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    before = evaluate(gt, pred)
    write(gt / "Annotations/480p/train-only/00000.png", np.zeros((5, 5)))
    write(pred / "train-only/00000.png", np.zeros((5, 5)))
    write(pred / "boat/00099.png", np.zeros((5, 5)))
    write(pred / "boat/overlay/00001.png", np.full((5, 5), 77))
    (pred / "notes.txt").write_text("none")
    (gt / "JPEGImages").mkdir()
    assert evaluate(gt, pred) == before


def _mask(name: str, value: int, size: tuple[int, int] = (80, 90)) -> Callable[[Path, Path], None]:
    """Write a picture with one pixel of a value."""

    def spoil(gt: Path, pred: Path) -> None:
        mask = np.zeros(size)
        mask[3, 4] = value
        write((pred.parent / name), mask)

    return spoil


def _text(name: str, text: str) -> Callable[[Path, Path], None]:
    return lambda gt, pred: (gt.parent / name).write_text(text) and None


def _append(name: str, value: int) -> Callable[[Path, Path], None]:
    """Give one pixel of an annotation another value."""

    def spoil(gt: Path, pred: Path) -> None:
        mask = np.array(Image.open(gt.parent / name))
        mask[0, 0] = value
        write(gt.parent / name, mask)

    return spoil


TRUTH = "gt/Annotations/480p/boat"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda gt, pred: (pred / "boat/00003.png").unlink(), "pred/boat/00003.png is missing"),
        (lambda gt, pred: (pred / "boat/00000.png").unlink(), "pred/boat/00000.png is missing"),
        (lambda gt, pred: (pred / "a-goat/00013.png").unlink(), "pred/a-goat/00013.png is missing"),
        (lambda gt, pred: shutil.rmtree(pred / "boat"), "pred/boat is missing"),
        (lambda gt, pred: [file.unlink() for file in (pred / "boat").iterdir()], "pred/boat holds no PNG"),
        (lambda gt, pred: [file.unlink() for file in pred.rglob("*.png")], r"pred \(predictions\) holds no PNG"),
        (lambda gt, pred: shutil.rmtree(pred), r"pred \(predictions\) is not a folder"),
        (_mask("pred/boat/00003.png", 1, (79, 90)), "pred/boat/00003.png is 90x79 but its ground truth is 90x80"),
        (_mask("pred/boat/00000.png", 1, (79, 90)), "pred/boat/00000.png is 90x79 but its ground truth is 90x80"),
        (_mask("pred/boat/00003.png", 2), "value 2 in .*pred/boat/00003.png"),
        (_mask("pred/boat/00003.png", 254), "value 254 in .*pred/boat/00003.png"),
        (_mask("pred/boat/00007.png", 128), "value 128 in .*pred/boat/00007.png"),
        (lambda gt, pred: (pred / "boat/00003.png").write_bytes(b"no"), "pred/boat/00003.png is damaged"),
        (lambda gt, pred: (pred / "boat/00003.png").write_bytes(b""), "pred/boat/00003.png is empty"),
        (lambda gt, pred: write(pred / "boat/00003.png", np.zeros((80, 90, 3))), "boat/00003.png is a colour picture"),
        (lambda gt, pred: shutil.rmtree(gt), r"gt \(ground truth\) is not a folder"),
        (lambda gt, pred: shutil.rmtree(gt / "ImageSets"), "gt holds neither ImageSets/480p/val.txt"),
        (_text("gt/ImageSets/480p/val.txt", " \n"), "val.txt lists no sequence"),
        (_text("gt/ImageSets/480p/val.txt", "bear\n/a /b /c\n"), "val.txt, line 2: '/a /b /c' is neither"),
        (_text("gt/ImageSets/480p/val.txt", "bear\nyeti\n"), "480p/yeti holds no PNG"),
        (lambda gt, pred: shutil.rmtree(gt / "Annotations"), "480p/bear holds no PNG"),
        (lambda gt, pred: (gt.parent / f"{TRUTH}/00003.png").unlink(), f"{TRUTH}/00003.png is missing"),
        (lambda gt, pred: (gt.parent / f"{TRUTH}/00003.png").write_bytes(b"no"), f"{TRUTH}/00003.png is damaged"),
        (_append(f"{TRUTH}/00004.png", 7), f"value 7 in .*{TRUTH}/00004.png"),
        (_append(f"{TRUTH}/00004.png", 128), f"value 128 in .*{TRUTH}/00004.png"),
        (_append(f"{TRUTH}/00000.png", 128), f"value 128 in .*{TRUTH}/00000.png"),
        (_mask(f"{TRUTH}/00003.png", 77), f"value 77 in .*{TRUTH}/00003.png"),
    ],
)
def test_faults_are_named(folders: tuple[Path, Path], spoil: Callable[[Path, Path], object], message: str) -> None:
    spoil(*folders)
    with pytest.raises(InputError, match=message) as error:
        evaluate(*folders, workers=2)
    assert "\n" not in str(error.value)


def test_sequences_too_short_to_score_are_named(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    write_list(gt, "480p", [f"/JPEGImages/480p/boat/{t:05d}.jpg /Annotations/480p/boat/{t:05d}.png" for t in (0, 1)])
    with pytest.raises(InputError, match=r"480p/boat has 2 frame\(s\)"):
        evaluate(gt, pred)


@pytest.mark.process
def test_command_needs_no_torch(folders: tuple[Path, Path], tmp_path: Path) -> None:
    gt, pred = folders
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    command = [sys.executable, "-c", code, "scripts/evaluate.py", "davis2016", "--gt", gt, "--pred", pred]
    subprocess.run([*command, "--json", tmp_path / "out.json"], check=True, cwd=ROOT, capture_output=True)
    assert json.loads((tmp_path / "out.json").read_text()) == evaluate(gt, pred)


def distorted(mask: np.ndarray, t: int) -> np.ndarray:
    """Shifted, swollen, lost or cut off."""
    kinds = [
        lambda: np.roll(mask, (t % 9, -(t % 7)), (0, 1)),
        lambda: ndimage.binary_dilation(mask, iterations=4),
        lambda: np.zeros_like(mask),
        lambda: mask & (np.arange(mask.shape[1]) > mask.shape[1] // 2),
        lambda: mask,
        lambda: ndimage.binary_erosion(mask, iterations=6),
    ]
    return kinds[t % len(kinds)]()


def test_real_masks(real: Path, tmp_path: Path) -> None:
    """Twelve sequences of DAVIS, every tenth frame, with spoilt copies as predictions."""
    gt = tmp_path / "gt"
    rows = []
    for folder in sorted((real / "davis/Annotations/480p").iterdir()):
        for t, file in enumerate(sorted(folder.iterdir())[::10]):
            place = gt / "Annotations/480p" / folder.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            mask = np.asarray(Image.open(file)) > 0
            write(tmp_path / "pred" / folder.name / file.name, distorted(mask, t) * 255)
            rows.append(f"/JPEGImages/480p/{folder.name}/{file.stem}.jpg /Annotations/480p/{folder.name}/{file.name}")
    write_list(gt, "480p", rows)
    metrics = check(gt, tmp_path / "pred")
    assert 0.3 < metrics["J_mean"] < 0.9
    assert len(metrics["per_sequence"]) == 12
