"""AP^r of parts and persons, and mIoU, from files: `partwise.evaluation.vip` beside the way of the released scripts.

The released CIHP and VIP evaluators decode every image once for each class and hold one boolean mask an instance; this
is that way written out. The authors' metrics must be equal.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from partwise.arrays import BoolArray, Float64Array, Int64Array, UInt8Array
from partwise.evaluation.vip import evaluate
from partwise.io.images import write_labels
from partwise.labels import voc_colors

SIZE = 720, 1280
PERSONS, CLASSES = 10, (2, 5, 9, 13, 14, 15, 16, 18)
HUMAN = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
PART = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def draw(rng: np.random.Generator) -> Int64Array:
    """Instance ids 1..80: eight wavy parts one above the other for each of ten persons side by side."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ids = np.zeros(SIZE, dtype=np.int64)
    for person in range(PERSONS):
        center = 64 + 128 * person + rng.integers(-20, 21)
        width = 50 + 12 * np.sin(y / 9 + rng.random() * 6) + rng.integers(0, 3, SIZE)
        inside = (np.abs(x - center) < width) & (y > 40) & (y < 680)
        part = np.clip((y - 40 + 8 * np.sin(x / 7)) // 80, 0, 7).astype(int)
        ids[inside] = person * 8 + part[inside] + 1
    return ids


def write(root: Path, images: int) -> None:
    """Ground truth and results; these are shifted by some pixels and leave some objects out."""
    rng, colors, classes = np.random.default_rng(0), voc_colors(), np.array([0, *CLASSES * PERSONS])
    for n in range(images):
        truth = draw(rng)
        pred = np.roll(truth, rng.integers(-25, 26, 2).tolist(), (0, 1))
        pred[np.isin(pred, rng.choice(80, 8) + 1)] = 0
        name, result = f"videos{n // 10}/{n:012d}", root / "pred" / f"videos{n // 10}"
        for folder, ids in (
            (f"gt/Category_ids/{name}", classes[truth]),
            (f"gt/Human_ids/{name}", (truth + 7) // 8),
            (f"gt/Instance_ids/{name}", truth),
            (f"pred/{result.name}/gray/global_{n:012d}", classes[pred]),
            (f"pred/{result.name}/gray/inst_{n:012d}", (pred + 7) // 8),
            (f"pred/{result.name}/instance_part/{n:012d}", pred),
        ):
            write_labels(root / f"{folder}.png", ids, colors)
        rows = [f"{i} {classes[i]} {(i + 7) // 8}\n" for i in range(1, 81)]
        (root / f"gt/Instance_ids/{name}.txt").write_text("".join(rows))
        rows = [f"{rng.random():.6f} 0 0 9 9\n" for _ in range(PERSONS)]
        (result / f"gray/scores_{n:012d}.txt").write_text("".join(rows))
        rows = [f"{classes[i]} {rng.random():.6f}\n" for i in range(1, 81)]
        (result / f"instance_part/{n:012d}.txt").write_text("".join(rows))


def read(file: Path) -> UInt8Array:
    """A map (H, W)."""
    return np.array(Image.open(file))


def area(hits: Float64Array, total: int) -> float:
    """All-point VOC AP."""
    found = np.cumsum(hits)
    recall = np.concatenate([[0], found / total, [1]])
    precision = np.concatenate([[0], found / np.arange(1, len(hits) + 1), [0]])
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    steps = np.where(recall[1:] > recall[:-1])[0]
    return float(((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum())


def class_ap(
    frames: list[str], load: Callable[[str], tuple[list[BoolArray], list[BoolArray], list[float]]], limits: list[float]
) -> list[float]:
    """AP at each threshold; every detection takes its best object, taken or not."""
    best, scores, total = [], [], 0
    for frame in frames:
        truths, preds, ranks = load(frame)
        total += len(truths)
        for pred, score in zip(preds, ranks, strict=True):
            ious = [np.logical_and(pred, t).sum() / np.logical_or(pred, t).sum() for t in truths]
            best.append(max(ious, default=0.0))
            scores.append(score)
    if not total:
        return [np.nan if scores else 0.0] * len(limits)
    order = np.argsort(-np.array(scores), kind="stable")
    return [area((np.array(best)[order] > t).astype(float), total) for t in limits]


def part_masks(root: Path, frame: str, label: int) -> tuple[list[BoolArray], list[BoolArray], list[float]]:
    """True and predicted masks of one class in one frame, and the scores; both maps are decoded anew."""
    video, stem = frame.split("/")
    truth, file = read(root / f"gt/Instance_ids/{frame}.png"), root / f"pred/{video}/instance_part/{stem}"
    pred = read(file.with_suffix(".png"))
    rows = [row.split() for row in (root / f"gt/Instance_ids/{frame}.txt").read_text().splitlines()]
    truths = [truth == int(i) for i, c, _ in rows if int(c) == label]
    results = [row.split() for row in file.with_suffix(".txt").read_text().splitlines()]
    found = [(pred == n, float(s)) for n, (c, s) in enumerate(results, 1) if int(c) == label]
    return truths, [mask for mask, _ in found], [score for _, score in found]


def human_masks(root: Path, frame: str) -> tuple[list[BoolArray], list[BoolArray], list[float]]:
    """True and predicted masks of the persons in one frame, and the scores."""
    video, stem = frame.split("/")
    truth, pred = read(root / f"gt/Human_ids/{frame}.png"), read(root / f"pred/{video}/gray/inst_{stem}.png")
    rows = (root / f"pred/{video}/gray/scores_{stem}.txt").read_text().splitlines()
    preds = [pred == n for n in range(1, len(rows) + 1)]
    return [truth == i for i in np.unique(truth) if i], preds, [float(row.split()[0]) for row in rows]


def released_parts(root: Path, frames: list[str]) -> dict[str, float]:
    """AP^r of parts, class by class."""
    aps = np.array([class_ap(frames, lambda f, c=c: part_masks(root, f, c), PART) for c in range(1, 20)])  # type: ignore[misc]
    mean = 100 * aps.mean(0)
    return {"ap_vol": mean.mean(), "ap_50": mean[4], "ap_60": mean[5], "ap_70": mean[6]}


def released_human(root: Path, frames: list[str]) -> dict[str, float]:
    """AP^r of persons."""
    ap = 100 * np.array(class_ap(frames, lambda f: human_masks(root, f), HUMAN))
    return {"ap": ap.mean(), "ap_50": ap[0], "ap_60": ap[2], "ap_70": ap[4]}


def released_miou(root: Path, frames: list[str]) -> float:
    """Mean IoU of the parts."""
    counts = np.zeros((20, 20))
    for frame in frames:
        video, stem = frame.split("/")
        truth, pred = read(root / f"gt/Category_ids/{frame}.png"), read(root / f"pred/{video}/gray/global_{stem}.png")
        kept = truth < 20
        counts += np.bincount(20 * truth[kept].astype(int) + pred[kept], minlength=400).reshape(20, 20)
    with np.errstate(invalid="ignore"):
        return float(100 * np.nanmean(np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))))


def timed(work: Callable[[], Any]) -> tuple[Any, Float64Array]:
    """What it returns; seconds by the clock and of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    return work(), np.array([time.perf_counter() - wall, time.process_time() - cpu])


def run(images: int = 50) -> list[Table]:
    """Write, measure in one run, compare."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, images)
        frames = [f"videos{n // 10}/{n:012d}" for n in range(images)]
        for file in root.rglob("*.*"):
            file.read_bytes()  # both sides find the files in memory
        _, first = timed(lambda: evaluate(root / "gt", root / "pred", workers=1))
        parts, part_s = timed(lambda: released_parts(root, frames))
        human, human_s = timed(lambda: released_human(root, frames))
        miou, miou_s = timed(lambda: released_miou(root, frames))
        ours, again = timed(lambda: evaluate(root / "gt", root / "pred", workers=1))
        _, decode = timed(lambda: [read(file) for file in root.rglob("*.png")])
    check(ours, parts, human, miou)
    one = (first + again) / 2
    about = f"{images} images {SIZE[1]}x{SIZE[0]}, {PERSONS} persons x {len(CLASSES)} parts; metrics equal to 1e-6"
    table = Table("", "wall s", "CPU s", "ours, times faster by wall", "by CPU", title=about)
    for name, seconds in (
        ("released way, parts", part_s),
        ("released way, parts, persons, mIoU", part_s + human_s + miou_s),
        ("partwise, all metrics, one process", one),
        ("decoding every map once", decode),
    ):
        table.add_row(name, *(f"{s:.2f}" for s in seconds), *(f"{s:.1f}" for s in seconds / one))
    return [table]


def check(ours: dict[str, Any], parts: dict[str, float], human: dict[str, float], miou: float) -> None:
    """Stop unless the metrics are equal."""
    for kind, metrics in (("part", parts), ("human", human)):
        for name, value in metrics.items():
            assert abs(ours[kind]["authors"][name] - value) < 1e-6, name
    assert abs(ours["miou"] - miou) < 1e-6
