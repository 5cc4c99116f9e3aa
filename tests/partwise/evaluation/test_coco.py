"""COCO's figures against pycocotools run on the files themselves and against a plain reference, and bad input."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from partwise.errors import InputError
from partwise.evaluation import coco, coco_rle
from partwise.evaluation.coco import FIGURES, evaluate

needs_faster = pytest.mark.skipif(find_spec("faster_coco_eval") is None, reason="faster-coco-eval is not installed")
BACKENDS = ["pycocotools", pytest.param("faster-coco-eval", marks=needs_faster)]
SIGMAS = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]  # thousandths
PERSON = {"id": 1, "name": "person"}
SIZE = (120, 150)


def compressed(mask: np.ndarray) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.T.ravel().astype(bool)
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, flat.size]).tolist()}


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


def directly(
    gt: Path, pred: Path, iou_type: str = "segm", categories: list[int] | None = None
) -> dict[str, float | None]:
    """What pycocotools says of the files, of all categories by default."""
    truth = COCO(str(gt))
    evaluator = COCOeval(truth, truth.loadRes(str(pred)), iou_type)
    if categories is not None:
        evaluator.params.catIds = categories
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    at = (0, 1, 2, 4, 5, 8) if iou_type == "segm" else (0, 1, 2, 3, 4, 5)
    stats = [float(evaluator.stats[n]) for n in at]
    return {name: None if value == -1 else value for name, value in zip(FIGURES, stats, strict=True)}


def with_categories(scene: Scene) -> dict[str, Any]:
    """Share the scene's rows out among categories; the content of its annotation file.

    Of the categories 18 has crowds alone and 77 no object; some results are of these, and of 99, which is not listed.
    """
    scene.truths[:] = [row | {"category_id": int(scene.rng.choice([40, 2, 5]))} for row in scene.truths]
    for row in scene.truths[::7]:
        row |= (
            {"category_id": 18, "iscrowd": 1, "segmentation": uncompressed(rle.decode(row["segmentation"]))}
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
    figures = {
        "AP": mean["all"], "AP50": ap["all", 0], "AP75": ap["all", 5], "APM": mean["medium"], "APL": mean["large"],
        "AR": float(np.mean([recall["all", t] for t in range(10)])),
    }  # fmt: skip
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def area_of(scene: Scene, result: dict[str, Any], keypoints: bool) -> float:
    if not keypoints:
        return float(scene.masks[id(result)].sum())
    points = np.array(result["keypoints"]).reshape(17, 3)
    return float(np.ptp(points[:, 0]) * np.ptp(points[:, 1]))


def same(figures: dict[str, float | None], expected: dict[str, float | None]) -> bool:
    assert list(figures) == list(expected) == list(FIGURES)
    return all(
        (value is None) == (expected[name] is None) and (value is None or abs(value - expected[name]) < 1e-12)
        for name, value in figures.items()
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
@pytest.mark.parametrize("seed", range(8))
def test_nasty_scenes_equal_pycocotools_and_the_reference(
    tmp_path: Path, seed: int, iou_type: str, backend: str
) -> None:
    scene = nasty(seed, iou_type == "keypoints")
    files = scene.write(tmp_path)
    figures = evaluate(*files, workers=1, iou_type=iou_type, backend=backend)
    assert 0 < figures["AP"] < 1
    assert same(figures, directly(*files, iou_type))
    plain = reference(scene, iou_type)
    assert all(figures[name] == pytest.approx(plain[name], abs=1e-9) for name in FIGURES)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_right(tmp_path: Path, backend: str) -> None:
    scene = Scene(0, images=2)
    scene.truth(0, rectangle(0, 0, 40, 40))
    scene.result(1, rectangle(0, 0, 40, 40), 0.5)
    files = scene.write(tmp_path)
    figures = evaluate(*files, backend=backend)
    assert figures == {"AP": 0, "AP50": 0, "AP75": 0, "APM": 0, "APL": None, "AR": 0}
    assert same(figures, directly(*files))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_but_crowds_is_undefined(tmp_path: Path, backend: str) -> None:
    scene = Scene(0, images=1)
    scene.truth(0, rectangle(0, 0, 90, 90), iscrowd=1)
    scene.result(0, rectangle(0, 0, 40, 40), 0.5)
    files = scene.write(tmp_path)
    assert evaluate(*files, backend=backend) == dict.fromkeys(FIGURES) == directly(*files)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
@pytest.mark.parametrize("seed", range(3))
def test_all_categories_count(tmp_path: Path, seed: int, iou_type: str, backend: str) -> None:
    scene = nasty(seed, iou_type == "keypoints")
    content = with_categories(scene)
    gt, pred = scene.write(tmp_path)
    gt.write_text(json.dumps(content))
    found = []
    for names, ids in ([], None), (["person"], [2]), (["horse", "kite", "dog"], [5, 40, 77]):
        with pytest.warns(UserWarning, match=r"pred.json: \d+ of \d+ results have categories that .* does not list"):
            figures = evaluate(gt, pred, workers=1, iou_type=iou_type, backend=backend, categories=names)
        assert same(figures, directly(gt, pred, iou_type, ids))
        found.append(figures["AP"])
    assert len(set(found)) == 3


@pytest.mark.process
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_the_script_scores_all_categories_or_those_named(tmp_path: Path, iou_type: str) -> None:
    scene = nasty(5, iou_type == "keypoints")
    content = with_categories(scene)
    gt, pred = scene.write(tmp_path)
    gt.write_text(json.dumps(content))
    for options, categories in ([], None), (["--category", "person"], [2]), (["--category", "kite"], [77]):
        done = script(
            "coco", "--gt", gt, "--pred", pred, "--iou-type", iou_type, "--json", tmp_path / "o.json", *options
        )
        if categories == [77]:
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1].endswith(
                "annotates no kite; take a file that does, test sets have none"
            )
        else:
            assert same(json.loads((tmp_path / "o.json").read_text()), directly(gt, pred, iou_type, categories))


@pytest.mark.process
def test_the_script_names_wrong_categories(tmp_path: Path) -> None:
    gt, pred = nasty(0).write(tmp_path)
    done = script("coco", "--gt", gt, "--pred", pred, "--category", "dog")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"{gt} has no category 'dog'; it has person" in done.stderr
    done = script("ochuman", "--gt", gt, "--pred", pred, "--category", "person")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "ochuman does not take --category; leave it out" in done.stderr


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    """scripts/evaluate.py as people call it."""
    command = [sys.executable, str(Path(__file__).parents[3] / "scripts" / "evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "400"})


def test_results_of_other_categories_alone(tmp_path: Path) -> None:
    scene = nasty(4)
    gt, pred = scene.write(tmp_path)
    gt.write_text(json.dumps(scene.content() | {"categories": [{"id": 7, "name": "dog"}, PERSON]}))
    pred.write_text(json.dumps([{**row, "category_id": 7} for row in scene.results]))
    figures = evaluate(gt, pred)
    assert figures["AP"] == figures["AR"] == 0
    assert same(figures, directly(gt, pred))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_boxes_of_results_set_their_areas(tmp_path: Path, iou_type: str, backend: str) -> None:
    scene = nasty(5, iou_type == "keypoints")
    files = scene.write(tmp_path)
    without = evaluate(*files, iou_type=iou_type, backend=backend)
    for row in scene.results:
        row["bbox"] = [0, 0, 50.5, 50]
    files = scene.write(tmp_path)
    figures = evaluate(*files, iou_type=iou_type, backend=backend)
    assert same(figures, directly(*files, iou_type))
    assert (figures["AP"], figures["APL"]) == (without["AP"], pytest.approx(figures["APL"]))
    assert figures != without


@pytest.mark.parametrize("backend", BACKENDS)
def test_keypoints_with_masks_have_their_areas(tmp_path: Path, backend: str) -> None:
    scene = nasty(5, keypoints=True)
    for n, row in enumerate(scene.results):
        row["segmentation"] = compressed(rectangle(0, 0, 30 + n % 9, 33))
    files = scene.write(tmp_path)
    assert same(evaluate(*files, iou_type="keypoints", backend=backend), directly(*files, "keypoints"))


def test_masks_of_any_kind(tmp_path: Path) -> None:
    """pycocotools takes polygons and runs for results only beside boxes; the masks are the same without."""
    scene = nasty(6)
    for n, row in enumerate(scene.truths):
        x, y, w, h = row["bbox"]
        if not row["iscrowd"] and n % 2:
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h / 2.5], [x, y, x + w / 3, y + h, x, y + h]]
    for n, row in enumerate(scene.results):
        mask = scene.masks[id(row)]
        row["bbox"] = [0, 0, int(mask.sum()), 1]
        if n % 3 == 1:
            row["segmentation"] = uncompressed(mask)
        if n % 3 == 2 and mask.any():
            ys, xs = np.nonzero(mask)
            x, y, u, v = (int(e) for e in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
            row["segmentation"] = [[x, y, u, y, u, v, x, v]]
    files = scene.write(tmp_path)
    figures = evaluate(*files)
    assert same(figures, directly(*files))
    for row in scene.results:
        del row["bbox"]
    files = scene.write(tmp_path)
    assert same(evaluate(*files), figures)


@pytest.mark.parametrize("rename", [str, lambda i: f"{i:04d}.jpg", lambda i: 10**10 + i])
def test_ids_of_images_may_be_any(tmp_path: Path, rename: Callable[[int], Any]) -> None:
    scene = nasty(7)
    scene.ids = [rename(i) for i in scene.ids]
    for row in (*scene.truths, *scene.results):
        row["image_id"] = rename(row["image_id"])
    files = scene.write(tmp_path)
    assert same(evaluate(*files), directly(*files))


@pytest.mark.parametrize("backend", BACKENDS)
def test_annotation_0_is_never_found_and_a_warning_says_so(tmp_path: Path, backend: str) -> None:
    scene = Scene(0, images=1)
    scene.truth(0, rectangle(0, 0, 40, 40), id=0)
    scene.truth(0, rectangle(50, 50, 40, 40))
    for row in scene.truths:
        scene.result(0, scene.masks[id(row)], 0.5)
    files = scene.write(tmp_path)
    with pytest.warns(UserWarning, match=r"gt.json: pycocotools never finds annotation 0"):
        figures = evaluate(*files, backend=backend)
    assert figures["AP"] < 1
    assert same(figures, directly(*files))


def test_several_processes_give_the_figures_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = nasty(1).write(tmp_path)
    alone = evaluate(*files, workers=1)
    monkeypatch.setattr(coco, "_BLOCK", 1)
    monkeypatch.setattr("partwise.evaluation.files._WORTH_A_PROCESS", 2)
    assert evaluate(*files, workers=2) == alone


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(*nasty(1).write(tmp_path))
    said = capfd.readouterr()
    assert said.out == ""
    assert "creating index" not in said.err


@pytest.mark.process
def test_it_starts_without_torch() -> None:
    code = "import sys, partwise.evaluation.coco, partwise.evaluation.ochuman; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.real
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "iou_type"),
    [
        ("instances_train2017", "segm"),
        ("person_keypoints_train2017", "segm"),
        ("person_keypoints_train2017", "keypoints"),
        ("test_coco", "segm"),
        ("test_coco", "keypoints"),
        ("test_coco_wholebody", "keypoints"),
    ],
)
def test_real_annotations(tmp_path: Path, real: Path, name: str, iou_type: str, backend: str) -> None:
    gt, pred = real / "coco" / "annotations" / f"{name}.json", tmp_path / "pred.json"
    pred.write_text(json.dumps(distorted(gt, iou_type)))
    figures = evaluate(gt, pred, iou_type=iou_type, backend=backend)
    assert 0 < figures["AP"] < 1
    assert same(figures, directly(gt, pred, iou_type))


@pytest.mark.real
def test_other_keypoints_are_refused(tmp_path: Path, real: Path) -> None:
    gt, pred = real / "crowdpose" / "json" / "crowdpose_test.json", tmp_path / "pred.json"
    pred.write_text("[]")
    with pytest.raises(InputError, match=r"crowdpose_test.json: annotation \d+ has 42 numbers for keypoints"):
        evaluate(gt, pred, iou_type="keypoints")
    with pytest.raises(InputError, match=r"annotation \d+ has no mask"):
        evaluate(gt, pred)


def distorted(gt: Path, iou_type: str) -> list[dict[str, Any]]:
    """Every annotation shifted, some twice, with coarse scores."""
    rng = np.random.default_rng(0)
    truth, results = COCO(str(gt)), []
    for row in truth.dataset["annotations"]:
        for _ in range(rng.integers(0, 3)):
            about = {key: row[key] for key in ("image_id", "category_id")} | {"score": int(rng.integers(1, 9)) / 8}
            if iou_type == "segm":
                by = tuple(rng.integers(-6, 7, 2))
                results.append(about | {"segmentation": compressed(np.roll(truth.annToMask(row), by, (0, 1)))})
            else:
                moved = np.array(row["keypoints"]) + rng.normal(0, 5, 51)
                results.append(about | {"keypoints": moved.tolist()})
    return results


FIRST = (0, "result 1 ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 1001}, "result 2 is for image 1001, which .*gt.json does not list"),
        ({"image_id": [1]}, r"result 2 is for image \[1\]"),
        ({"image_id": None}, "result 2 is for image None"),
        ({"category_id": [2]}, r"result 2 has the category \[2\]; give one of the ids that .*gt.json lists"),
        ({"score": None}, "result 2 has the score None"),
        ({"score": "0.5"}, "result 2 has the score '0.5'"),
        ({"score": math.nan}, "result 2 has the score nan"),
        ({"score": math.inf}, "result 2 has the score inf"),
        ({"segmentation": None}, "result 2 has no mask"),
        (
            {"segmentation": {"size": [150, 120], "counts": "PPYo2"}},
            r"mask of \[150, 120\].* its image is \[120, 150\]",
        ),
        ({"segmentation": {"counts": "PPYo2"}}, "result 2 has a mask of None"),
        ({"segmentation": {"size": [120, 150], "counts": ""}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "PP"}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "1"}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "\u00e9"}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "~~!"}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": [17999]}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": [18001, -1]}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": [18000.0]}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": {"size": [120, 150], "counts": 3}}, "result 2 has a mask whose RLE is damaged"),
        ({"segmentation": []}, "result 2 has a polygon that is no list"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "result 2 has a polygon that is no list"),
        ({"segmentation": [[1, 2]]}, "result 2 has a polygon that is no list"),
        ({"segmentation": [[1, 2, 3, 4, 5, math.nan]]}, "result 2 has a polygon that is no list"),
        ({"segmentation": [[1, 2, 3, 4, 5, 10**400]]}, "result 2 has a polygon that is no list"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e12]]}, "result 2 has a polygon that is no list"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "result 2 has a polygon that is no list"),
    ],
)
def test_bad_results_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    scene = nasty(0)
    scene.results[1] = scene.results[1] | change
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=rf"^{pred}: .*{message}") as caught:
        evaluate(gt, pred)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [0.0] * 42}, "result 2 has 42 numbers for keypoints"),
        ({"keypoints": [0.0] * 50 + [math.nan]}, "result 2 has keypoints that are no numbers"),
        ({"keypoints": [0.0] * 50 + ["1"]}, "result 2 has keypoints that are no numbers"),
        ({"keypoints": None}, "result 2 has no list of keypoints"),
    ],
)
def test_bad_keypoints_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    scene = nasty(0, keypoints=True)
    scene.results[1] = scene.results[1] | change
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=rf"^{pred}: .*{message}"):
        evaluate(gt, pred, iou_type="keypoints")
    scene = nasty(0, keypoints=True)
    scene.truths[0] = scene.truths[0] | change
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=rf"^{gt}: annotation 3 {message[9:]}"):
        evaluate(gt, pred, iou_type="keypoints")


def test_boxes_are_for_all_results_or_none(tmp_path: Path) -> None:
    scene = nasty(0)
    scene.results[0]["bbox"] = [1, 2, 3, 4]
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=r"result 2 has the bbox None"):
        evaluate(gt, pred)


@pytest.mark.parametrize("missing", ["image_id", "category_id", "score", "segmentation"])
def test_missing_fields_of_results_are_named(tmp_path: Path, missing: str) -> None:
    scene = nasty(0)
    del scene.results[0][missing]
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=rf"^{pred}: result 1 (is|has)"):
        evaluate(gt, pred)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged or no json"),
        ("[{}", "is damaged or no json"),
        ("\x00", "is damaged or no json"),
        ("[" * 100000, "is damaged or no json"),
        ("{}", "holds no list"),
        ("[]", "holds no results"),
        ("[3]", "result 1 is no json object"),
        ("[null]", "result 1 is no json object"),
    ],
)
def test_results_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    gt, pred = nasty(0).write(tmp_path)
    pred.write_text(text)
    with pytest.raises(InputError, match=rf"^{pred}.*{message}") as caught:
        evaluate(gt, pred)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=rf"^{pred} (is damaged|has no list 'images')"):
        evaluate(pred, gt)


def test_missing_files_are_named(tmp_path: Path) -> None:
    gt, pred = nasty(0).write(tmp_path)
    for pair in ((tmp_path / "no.json", pred), (gt, tmp_path / "no.json")):
        with pytest.raises(InputError, match=r"no.json is missing"):
            evaluate(*pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "has no list 'images'"),
        (lambda c: c.pop("annotations"), "has no list 'annotations'"),
        (lambda c: c.update(annotations=[]), "annotates no object"),
        (lambda c: c.update(categories=[]), "annotates no object"),
        (lambda c: c.update(categories=[{"id": 2, "name": "person"}]), "annotates no object"),
        (lambda c: c["images"][0].update(id="a"), "both numbers and texts"),
        (lambda c: c["images"][0].update(id=None), "entry 1 of 'images' has no id"),
        (lambda c: c["images"].append(c["images"][0]), "occurs twice in 'images'"),
        (lambda c: c["annotations"].append({**c["annotations"][0]}), "the id 3 occurs twice in 'annotations'"),
        (lambda c: c["annotations"].append(3), "of 'annotations' has no id"),
        (lambda c: c["annotations"][0].update(image_id=1001), "annotation 3 is for image 1001"),
        (lambda c: c["annotations"][0].update(area=None), "annotation 3 has the area None"),
        (lambda c: c["annotations"][0].update(iscrowd=2), "annotation 3 has iscrowd 2"),
        (lambda c: c["annotations"][0].update(segmentation=[]), "annotation 3 has a polygon"),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 3 has no mask"),
        (lambda c: c["annotations"][0]["segmentation"].update(size=[3, 4]), r"annotation 3 has a mask of \[3, 4\]"),
        (lambda c: c["annotations"][0]["segmentation"].update(counts="11"), r"an annotation of image \d+ has a mask"),
        (lambda c: c["images"][2].pop("height"), "annotation 3 is for an image without height and width"),
    ],
)
def test_bad_ground_truth_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    scene = nasty(0)
    scene.truths = [{**row, "image_id": scene.ids[2], "iscrowd": 0} for row in scene.truths if not row["iscrowd"]]
    scene.truths[0]["id"] = 3
    gt, pred = scene.write(tmp_path)
    content = json.loads(gt.read_text())
    change(content)
    gt.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"^{gt}.*{message}"):
        evaluate(gt, pred)


def test_wrong_options_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = nasty(0).write(tmp_path)
    with pytest.raises(InputError, match="iou type bbox does not exist; it is one of segm, keypoints"):
        evaluate(*files, iou_type="bbox")
    with pytest.raises(InputError, match="backend fast does not exist"):
        evaluate(*files, backend="fast")
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(InputError, match="pip install faster-coco-eval") as caught:
        evaluate(*files, backend="faster-coco-eval")
    assert "\n" not in str(caught.value)


def test_damaged_texts_are_told_from_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of all kinds pass, and of texts changed at random exactly those that mean other runs do not."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(400):
        size = rng.integers(1, 60, 2)
        mask = rng.random(size) < rng.choice([0, 0.02, 0.5, 1])
        rows.append({"segmentation": {"size": mask.shape, "counts": compressed(mask)["counts"].encode()}})
    rows.append({"segmentation": rle.encode(np.zeros((30000, 30000), np.uint8, order="F"))})
    for characters in (1 << 21, 1000, 1):
        monkeypatch.setattr(coco_rle, "_TEXT", characters)
        assert coco_rle.damaged(rows) is None
    for n in range(2000):
        mask = rows[n % 400]["segmentation"]
        text = bytearray(mask["counts"])
        at = rng.integers(len(text))
        if n % 3 == 0:
            text = text[:at]
        elif n % 3 == 1:
            text[at] = rng.integers(40, 120)
        else:
            text.insert(at, rng.integers(48, 112))
        row = {"segmentation": {**mask, "counts": bytes(text)}}
        monkeypatch.setattr(coco_rle, "_TEXT", 1 << rng.integers(1, 12))
        found = coco_rle.damaged([*rows[:5], row, *rows[5:9]])
        assert found is (None if whole(bytes(text), mask["size"]) else row)


def whole(text: bytes, size: tuple[int, int]) -> bool:
    """Whether the text describes all pixels of a mask, character by character."""
    runs, value, shift, more = [], 0, 0, True
    for character in text:
        bits = character - 48
        if not 0 <= bits < 64:
            return False
        value |= (bits & 31) << shift
        shift, more = shift + 5, bits >= 32
        if not more:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return bool(text) and not more and min(runs) >= 0 and sum(runs) == size[0] * size[1]
