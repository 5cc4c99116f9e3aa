"""Random people as label maps, and the metrics of VIP from one boolean mask an object.

Written from the definitions; a module of its own because two protocols are tested against it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from partwise.io.images import write_labels
from partwise.labels import voc_colors

_SINGLE = {"ap_50": [0.5], "ap_60": [0.6], "ap_70": [0.7]}
PART = {"ap_vol": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], **_SINGLE}
HUMAN = {"ap": [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95], **_SINGLE, "ap_80": [0.8], "ap_90": [0.9],
         "ap_vol": PART["ap_vol"]}  # fmt: skip


class Found(NamedTuple):
    """An object: its pixels, its class, and its score if it is predicted."""

    mask: np.ndarray
    label: int
    score: float = 0.0


class Picture(NamedTuple):
    """All of one image; maps (H, W) of parts, lists of objects; truth first."""

    parts: tuple[np.ndarray, np.ndarray]
    persons: tuple[list[Found], list[Found]]
    instances: tuple[list[Found], list[Found]]


class Scene(NamedTuple):
    """What is written of one image: maps, and the class (and score) of ids 1, 2, ..."""

    parts: np.ndarray
    persons: np.ndarray
    instances: np.ndarray
    classes: list[int]
    scores: list[float]
    person_scores: list[float]


def read(file: Path) -> np.ndarray:
    return np.array(Image.open(file)).astype(int)


def write(file: Path, ids: np.ndarray) -> None:
    write_labels(file, ids, voc_colors())


def write_text(file: Path, rows: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{row}\n" for row in rows))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    either = (one | other).sum()
    return (one & other).sum() / either if either else 0.0


def voc_area(hits: list[bool], total: int) -> float:
    """VOC 2010: precision made monotone from the right, summed wherever recall changes; percent."""
    recall, precision, found = [0.0], [0.0], 0
    for n, hit in enumerate(hits, 1):
        found += hit
        recall.append(found / total)
        precision.append(found / n)
    for n in range(len(precision) - 1, 0, -1):
        precision[n - 1] = max(precision[n - 1], precision[n])
    return 100 * sum((recall[n] - recall[n - 1]) * precision[n] for n in range(1, len(recall)))


def class_ap(images: list[tuple[list[Found], list[Found]]], label: int, t: float, once: bool) -> float | None:
    """AP of one class; None where undefined."""
    truths = [[o.mask for o in truth if o.label == label and o.mask.any()] for truth, _ in images]
    queue = [(i, o) for i, (_, found) in enumerate(images) for o in found if o.label == label]
    total = sum(map(len, truths))
    if not total:
        return None if once or queue else 0.0
    hits, taken = [], set()
    for i, detection in sorted(queue, key=lambda item: -item[1].score):  # stable
        best, which = 0.0, None
        for k, mask in enumerate(truths[i]):
            if (i, k) not in taken and (overlap := iou(detection.mask, mask)) > best:
                best, which = overlap, (i, k)
        hits.append(best > t)
        if once and hits[-1]:
            taken.add(which)
    return voc_area(hits, total)


def mean(values: list[float | None]) -> float | None:
    return None if not values or None in values else sum(values) / len(values)


def matchings(images: list[Any], labels: range, means: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    metrics: dict[str, dict[str, Any]] = {}
    for matching in ("authors", "one_to_one"):
        by_threshold = {}
        for t in {t for thresholds in means.values() for t in thresholds}:
            aps = [class_ap(images, label, t, matching == "one_to_one") for label in labels]
            by_threshold[t] = mean([ap for ap in aps if ap is not None] if matching == "one_to_one" else aps)
        metrics[matching] = {name: mean([by_threshold[t] for t in thresholds]) for name, thresholds in means.items()}
    return metrics


def metrics(pictures: list[Picture], num_classes: int) -> dict[str, Any]:
    ious: list[float | None] = []
    for c in range(num_classes):
        shared = either = 0
        for truth, pred in (p.parts for p in pictures):
            counts = truth != 255
            shared += ((truth == c) & (pred == c) & counts).sum()
            either += (((truth == c) | (pred == c)) & counts).sum()
        ious.append(100 * shared / either if either else None)
    return {
        "miou": mean([v for v in ious if v is not None]),
        "iou_per_class": ious,
        "human": matchings([p.persons for p in pictures], range(1, 2), HUMAN),
        "part": matchings([p.instances for p in pictures], range(1, num_classes), PART),
    }


def predicted(ids: np.ndarray, classes: list[int], scores: list[float]) -> list[Found]:
    return [Found(ids == n, c, s) for n, (c, s) in enumerate(zip(classes, scores, strict=True), 1)]


def blocks(rng: np.random.Generator, values: list[int], size: tuple[int, int]) -> np.ndarray:
    """A map of 5 x 4 blocks that each hold one of the values."""
    coarse = rng.choice(values, (-(-size[0] // 5), -(-size[1] // 4)))
    return np.kron(coarse, np.ones((5, 4), dtype=int))[: size[0], : size[1]]


def split(persons: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, list[int], list[int]]:
    """Ids 1, 2, ... of the parts of each person; their classes and persons."""
    ids, classes, owners = np.zeros_like(parts), [], []
    for person in sorted(set(persons.ravel().tolist()) - {0}):
        for c in sorted(set(parts[persons == person].tolist()) - {0, 255}):
            classes.append(c)
            owners.append(person)
            ids[(persons == person) & (parts == c)] = len(classes)
    return ids, classes, owners


def truth(rng: np.random.Generator, labels: list[int]) -> Scene:
    """Up to three persons in some of the labels; ignored pixels, parts of nobody; sometimes nobody at all."""
    size = (int(rng.integers(9, 24)), int(rng.integers(9, 24)))
    persons = blocks(rng, list(range(int(rng.integers(0, 4)) + 1)), size)
    parts = np.where((persons > 0) | (rng.random(size) < 0.02), blocks(rng, [0, *labels, labels[0]], size), 0)
    parts[rng.random(size) < 0.05] = 255
    ids, classes, _ = split(persons, parts)
    return Scene(parts, persons, ids, classes, [], [])


def prediction(rng: np.random.Generator, scene: Scene, labels: list[int], most: int) -> Scene:
    """The truth shifted, some objects lost or cut in two, some called something else; few different scores."""
    shift = tuple(rng.integers(-1, 2, 2).tolist())
    persons = np.where(scene.persons == rng.integers(1, 6), 0, np.roll(scene.persons, shift, (0, 1)))
    parts = np.roll(scene.parts, shift, (0, 1))
    parts = np.where(parts == 255, 0, parts)
    parts = np.where(rng.random(parts.shape) < 0.05, rng.choice(labels), parts)
    ids, classes, _ = split(persons, parts)
    if rng.random() < 0.2:
        ids, persons = np.zeros_like(ids), np.zeros_like(persons)
    for n in range(1, len(classes) + 1):
        if len(classes) < most and rng.random() < 0.4:
            classes.append(classes[n - 1])
            ids[(ids == n) & (np.arange(ids.shape[1]) % 5 > 2)] = len(classes)
    classes = [int(rng.choice(labels)) if rng.random() < 0.1 else c for c in classes]
    parts = np.where((scene.parts == 255) & (rng.random(parts.shape) < 0.5), 255, parts)
    rank = [0.25, 0.5, 0.5, 0.75, 1]
    extra = int(rng.integers(0, 2))  # a row without pixels
    scores, human = (rng.choice(rank, n).tolist() for n in (len(classes) + extra, int(persons.max()) + extra))
    return Scene(parts, persons, ids, [*classes, *[int(rng.choice(labels))] * extra], scores, human)
