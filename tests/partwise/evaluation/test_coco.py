"""COCO's metrics against pycocotools run on the files themselves and against a plain reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import (
    BACKENDS,
    PERSON,
    Scene,
    compressed,
    directly,
    nasty,
    rectangle,
    reference,
    same,
    uncompressed,
    with_categories,
)
from pycocotools.coco import COCO

from partwise.errors import InputError
from partwise.evaluation.coco import evaluate
from partwise.scores.coco import METRICS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
@pytest.mark.parametrize("seed", range(8))
def test_nasty_scenes_equal_pycocotools_and_the_reference(
    tmp_path: Path, seed: int, iou_type: str, backend: str
) -> None:
    scene = nasty(seed, iou_type == "keypoints")
    files = scene.write(tmp_path)
    metrics = evaluate(*files, workers=1, iou_type=iou_type, backend=backend)
    assert 0 < metrics["AP"] < 1
    assert same(metrics, directly(*files, iou_type))
    plain = reference(scene, iou_type)
    assert all(metrics[name] == pytest.approx(plain[name], abs=1e-9) for name in METRICS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_right(tmp_path: Path, backend: str) -> None:
    scene = Scene(0, images=2)
    scene.truth(0, rectangle(0, 0, 40, 40))
    scene.result(1, rectangle(0, 0, 40, 40), 0.5)
    files = scene.write(tmp_path)
    metrics = evaluate(*files, backend=backend)
    assert metrics == {"AP": 0, "AP50": 0, "AP75": 0, "APM": 0, "APL": None, "AR": 0}
    assert same(metrics, directly(*files))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_nothing_found(tmp_path: Path, iou_type: str, backend: str) -> None:
    """As for results that find nothing right; pycocotools itself does not load an empty list."""
    scene = nasty(0, iou_type == "keypoints")
    scene.results.clear()
    metrics = evaluate(*scene.write(tmp_path), workers=1, iou_type=iou_type, backend=backend)
    assert metrics == dict.fromkeys(METRICS, 0) | {"APL": metrics["APL"]}
    assert metrics["APL"] in (0, None)


def test_flags_of_crowds_may_be_truth_values_and_ids_may_lack(tmp_path: Path) -> None:
    scene = nasty(3)
    gt, pred = scene.write(tmp_path)
    expected = evaluate(gt, pred, workers=1)
    scene.truths = [{**row, "iscrowd": bool(row["iscrowd"])} for row in scene.truths]
    for row in scene.truths:
        del row["id"]
    assert evaluate(*scene.write(tmp_path), workers=1) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_but_crowds_is_undefined(tmp_path: Path, backend: str) -> None:
    scene = Scene(0, images=1)
    scene.truth(0, rectangle(0, 0, 90, 90), iscrowd=1)
    scene.result(0, rectangle(0, 0, 40, 40), 0.5)
    files = scene.write(tmp_path)
    assert evaluate(*files, backend=backend) == dict.fromkeys(METRICS) == directly(*files)


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
            metrics = evaluate(gt, pred, workers=1, iou_type=iou_type, backend=backend, categories=names)
        assert same(metrics, directly(gt, pred, iou_type, ids))
        found.append(metrics["AP"])
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
    metrics = evaluate(gt, pred)
    assert metrics["AP"] == metrics["AR"] == 0
    assert same(metrics, directly(gt, pred))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_boxes_of_results_set_their_areas(tmp_path: Path, iou_type: str, backend: str) -> None:
    scene = nasty(5, iou_type == "keypoints")
    files = scene.write(tmp_path)
    without = evaluate(*files, iou_type=iou_type, backend=backend)
    for row in scene.results:
        row["bbox"] = [0, 0, 50.5, 50]
    files = scene.write(tmp_path)
    metrics = evaluate(*files, iou_type=iou_type, backend=backend)
    assert same(metrics, directly(*files, iou_type))
    assert (metrics["AP"], metrics["APL"]) == (without["AP"], pytest.approx(metrics["APL"]))
    assert metrics != without


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
    metrics = evaluate(*files)
    assert same(metrics, directly(*files))
    for row in scene.results:
        del row["bbox"]
    files = scene.write(tmp_path)
    assert same(evaluate(*files), metrics)


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
        metrics = evaluate(*files, backend=backend)
    assert metrics["AP"] < 1
    assert same(metrics, directly(*files))


def test_several_processes_give_the_metrics_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = nasty(1).write(tmp_path)
    alone = evaluate(*files, workers=1)
    monkeypatch.setattr("partwise.scores.coco._BLOCK", 1)
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
    metrics = evaluate(gt, pred, iou_type=iou_type, backend=backend)
    assert 0 < metrics["AP"] < 1
    assert same(metrics, directly(gt, pred, iou_type))


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
