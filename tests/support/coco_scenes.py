"""Scenes in COCO's files, and their metrics by pycocotools and by plain loops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data_modules.synthetic.layouts.coco_json import compressed, uncompressed
from partwise.scores.coco import METRICS

needs_faster = pytest.mark.skipif(find_spec("faster_coco_eval") is None, reason="faster-coco-eval is not installed")
BACKENDS = ["pycocotools", pytest.param("faster-coco-eval", marks=needs_faster)]
SIGMAS = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]  # thousandths
PERSON = {"id": 1, "name": "person"}
SIZE = (120, 150)


def rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[max(0, int(y)) : max(0, int(y + height)), max(0, int(x)) : max(0, int(x + width))] = True
    return mask


class Scene:
    """Ground truth and results as COCO writes them, and what the reference reads: masks and keypoints as arrays."""

    def __init__(self, seed: int, images: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.ids = self.rng.permutation(1000)[:images].tolist()  # neither ascending nor without gaps
        self.truths: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.masks: dict[int, np.ndarray] = {}  # by id() of the row

    def truth(self, image: int, mask: np.ndarray, keypoints: np.ndarray | None = None, **more: Any) -> None:
        ys, xs = np.nonzero(mask)
        box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1] if len(xs) else [0, 0, 0, 0]
        row = {
            "id": 2 * len(self.truths) + 3, "image_id": self.ids[image], "category_id": 1, "area": int(mask.sum()),
            "iscrowd": 0, "bbox": box, "segmentation": compressed(mask), **more,
        }  # fmt: skip
        if keypoints is not None:
            row |= {"keypoints": keypoints.ravel().tolist(), "num_keypoints": int((keypoints[:, 2] > 0).sum())}
        if row["iscrowd"]:
            row["segmentation"] = uncompressed(mask)
        self.truths.append(row)
        self.masks[id(row)] = mask

    def result(self, image: int, mask: np.ndarray, score: float, keypoints: np.ndarray | None = None) -> None:
        row = {"image_id": self.ids[image], "category_id": 1, "score": score, "segmentation": compressed(mask)}
        if keypoints is not None:
            row = {**row, "keypoints": keypoints.ravel().tolist()}
            del row["segmentation"]
        self.results.append(row)
        self.masks[id(row)] = mask

    def content(self) -> dict[str, Any]:
        images = [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in self.ids]
        return {"images": images, "annotations": self.truths, "categories": [PERSON]}

    def write(self, folder: Path) -> tuple[Path, Path]:
        gt, pred = folder / "gt.json", folder / "pred.json"
        gt.write_text(json.dumps(self.content()))
        pred.write_text(json.dumps(self.results))
        return gt, pred


def nasty(seed: int, keypoints: bool = False) -> Scene:
    """Images without objects, without results and without either, ties, duplicates, crowds, limits of area."""
    scene = Scene(seed)
    rng = scene.rng
    sides = [(32, 32), (32, 31), (33, 32), (96, 96), (96, 95), (97, 96), (20, 30), (50, 60), (1, 1)]
    for image in range(12):
        for _ in range(0 if image in (0, 1) else rng.integers(1, 6)):
            height, width = sides[rng.integers(len(sides))]
            x, y = rng.integers(0, SIZE[1] - width), rng.integers(0, SIZE[0] - height)
            mask, joints = rectangle(x, y, width, height), None
            if keypoints:
                joints = np.column_stack([rng.uniform(x, x + width, 17), rng.uniform(y, y + height, 17),
                                          rng.integers(0, 3, 17)])  # fmt: skip
                joints[rng.random(17) < rng.choice([0.1, 1.0], p=[0.8, 0.2])] = 0
            crowd = int(rng.random() < 0.2)
            area = {} if rng.random() < 0.7 else {"area": float(rng.choice([1023.5, 1024, 9216, 9216.5]))}
            scene.truth(image, mask, joints, iscrowd=crowd, **area)
            for _ in range(0 if image in (0, 2) else rng.integers(0, 4)):
                shift = rng.integers(-8, 9, 4) * (rng.random() < 0.8)
                guess = rectangle(x + shift[0], y + shift[1], width + shift[2], height + shift[3])
                moved = joints + rng.normal(0, 2, (17, 3)) if joints is not None else None
                for _ in range(1 + (rng.random() < 0.2)):
                    scene.result(image, guess, float(rng.integers(1, 6)) / 5, moved)
        if image == 1:
            scene.result(image, rectangle(3, 3, 40, 40), 0.6, rng.uniform(0, 99, (17, 3)) if keypoints else None)
    for n in range(260):  # more than count, and than a byte can
        joints = rng.uniform(0, 99, (17, 3)) if keypoints else None
        scene.result(5, rectangle(n % 90, n % 70, 32, 32 + n % 2), float(rng.integers(1, 9)) / 8, joints)
    rng.shuffle(scene.results)
    return scene


def summary(truth: COCO, results: Any, iou_type: str, categories: list[int] | None = None) -> dict[str, float]:
    """What pycocotools says of results, those of `METRICS` by name; -1 where undefined."""
    evaluator = COCOeval(truth, truth.loadRes(results), iou_type)
    if categories is not None:
        evaluator.params.catIds = categories
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    at = (0, 1, 2, 4, 5, 8) if iou_type == "segm" else (0, 1, 2, 3, 4, 5)
    return dict(zip(METRICS, evaluator.stats[list(at)].tolist(), strict=True))


def directly(
    gt: Path, pred: Path, iou_type: str = "segm", categories: list[int] | None = None
) -> dict[str, float | None]:
    """What pycocotools says of the files, of all categories by default."""
    found = summary(COCO(str(gt)), str(pred), iou_type, categories)
    return {name: None if value == -1 else value for name, value in found.items()}


def of_rows(images: Iterable[int], objects: list[Any], results: list[Any], iou_type: str = "segm") -> dict[str, float]:
    """What pycocotools says of rows of persons; NaN where undefined."""
    truth = COCO()
    rows = [{"id": i, "height": 0, "width": 0} for i in images]
    truth.dataset = {"images": rows, "annotations": objects, "categories": [PERSON]}
    truth.createIndex()
    found = summary(truth, results, iou_type)
    return {name: math.nan if value == -1 else value for name, value in found.items()}


def with_categories(scene: Scene) -> dict[str, Any]:
    """Share the scene's rows out among categories; the content of its annotation file.

    Of the categories 18 has crowds alone and 77 no object; some results are of these, and of 99, which is not listed.
    """
    scene.truths[:] = [row | {"category_id": int(scene.rng.choice([40, 2, 5]))} for row in scene.truths]
    for row in scene.truths[::7]:
        row |= (
            {
                "category_id": 18,
                "iscrowd": 1,
                "segmentation": uncompressed(rle.decode(row["segmentation"]).astype(bool)),
            }
            if (isinstance(row["segmentation"]["counts"], str))
            else {"category_id": 18}
        )
    own = {row["image_id"]: row["category_id"] for row in scene.truths}
    for row in scene.results:
        right = scene.rng.random() < 0.6
        row["category_id"] = own.get(row["image_id"], 2) if right else int(scene.rng.choice([2, 5, 18, 40, 77, 99]))
    named = {40: "dog", 2: "person", 77: "kite", 5: "horse", 18: "grass"}
    return scene.content() | {"categories": [{"id": i, "name": name} for i, name in named.items()]}


def mask_iou(scene: Scene) -> Callable[[dict[str, Any], dict[str, Any]], float]:
    def overlap(truth: dict[str, Any], result: dict[str, Any]) -> float:
        a, b = scene.masks[id(truth)], scene.masks[id(result)]
        whole = b.sum() if truth["iscrowd"] else (a | b).sum()
        return float((a & b).sum()) / float(whole) if (a & b).any() else 0.0

    return overlap


def oks(truth: dict[str, Any], result: dict[str, Any]) -> float:
    total = []
    left, top, width, height = truth["bbox"]
    for k in range(17):
        (x, y, seen), (u, v, _) = truth["keypoints"][3 * k : 3 * k + 3], result["keypoints"][3 * k : 3 * k + 3]
        if truth["num_keypoints"] and not seen:
            continue
        dx, dy = u - x, v - y
        if not truth["num_keypoints"]:  # how far outside twice the box
            dx = max(0, left - width - u) + max(0, u - left - 2 * width)
            dy = max(0, top - height - v) + max(0, v - top - 2 * height)
        total.append(math.exp(-(dx**2 + dy**2) / (2 * truth["area"] * (2 * SIGMAS[k] / 1000) ** 2)))
    return sum(total) / len(total)


def reference(scene: Scene, iou_type: str = "segm") -> dict[str, float | None]:
    """COCO's protocol in plain loops, one range of areas and one threshold after the other."""
    keypoints = iou_type == "keypoints"
    overlap, limit = (oks, 20) if keypoints else (mask_iou(scene), 100)
    pictures = []
    for image in sorted(scene.ids):
        results = [r for r in scene.results if r["image_id"] == image]
        results = sorted(results, key=lambda r: -r["score"])[:limit]
        truths = [t for t in scene.truths if t["image_id"] == image]
        areas = [area_of(scene, r, keypoints) for r in results]
        pictures.append((truths, results, areas, [[overlap(t, r) for t in truths] for r in results]))
    ranges = {"all": (0, 1e10), "medium": (1024, 9216), "large": (9216, 1e10)}
    thresholds = np.linspace(0.5, 0.95, 10)  # 0.7 and 0.85 to the last bit
    ap, recall = {}, {}
    for name, (low, high) in ranges.items():
        for t, threshold in enumerate(thresholds):
            scored, total = [], 0
            for truths, results, areas, overlaps in pictures:
                ignored = [
                    bool(o["iscrowd"]) or (keypoints and o["num_keypoints"] == 0) or not low <= o["area"] <= high
                    for o in truths
                ]
                total += ignored.count(False)
                taken = [False] * len(truths)
                for result, area, ious in zip(results, areas, overlaps, strict=True):
                    fate = "false" if low <= area <= high else "ignored"
                    for wanted in (False, True):  # objects that count first
                        free = [
                            n for n, o in enumerate(truths)
                            if ignored[n] == wanted and (o["iscrowd"] or not taken[n]) and ious[n] >= threshold
                        ]  # fmt: skip
                        if free:
                            found = max(free, key=lambda n: (ious[n], n))
                            taken[found], fate = True, "ignored" if wanted else "true"
                            break
                    if fate != "ignored":
                        scored.append((result["score"], fate == "true"))
            hits = np.cumsum([hit for _, hit in sorted(scored, key=lambda s: -s[0])])
            precision = hits / np.arange(1, len(hits) + 1)
            reached = [precision[hits / max(total, 1) >= point] for point in np.linspace(0, 1, 101)]
            ap[name, t] = float(np.mean([max(p, default=0.0) for p in reached])) if total else math.nan
            recall[name, t] = max(hits, default=0) / total if total else math.nan
    mean = {name: float(np.mean([ap[name, t] for t in range(10)])) for name in ranges}
    metrics = {
        "AP": mean["all"], "AP50": ap["all", 0], "AP75": ap["all", 5], "APM": mean["medium"], "APL": mean["large"],
        "AR": float(np.mean([recall["all", t] for t in range(10)])),
    }  # fmt: skip
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def area_of(scene: Scene, result: dict[str, Any], keypoints: bool) -> float:
    if not keypoints:
        return float(scene.masks[id(result)].sum())
    points = np.array(result["keypoints"]).reshape(17, 3)
    return float(np.ptp(points[:, 0]) * np.ptp(points[:, 1]))


def same(metrics: dict[str, float | None], expected: dict[str, float | None]) -> bool:
    assert list(metrics) == list(expected) == list(METRICS)
    return all(
        (value is None) == (expected[name] is None) and (value is None or abs(value - expected[name]) < 1e-12)
        for name, value in metrics.items()
    )
