"""Files and options that COCO's evaluation refuses, each in one line that names what is wrong."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_scenes import nasty

from partwise.errors import InputError
from partwise.evaluation.coco import evaluate

FIRST = (0, "result 1 ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 1001}, "result 2 is for image 1001, which .*gt.json does not list"),
        ({"image_id": [1]}, r"result 2: image_id is \[1\]"),
        ({"image_id": None}, "result 2: image_id is None"),
        ({"category_id": [2]}, r"result 2: category_id is \[2\]; allowed is"),
        ({"score": None}, "result 2: score is None; allowed is a finite number"),
        ({"score": "0.5"}, "result 2: score is '0.5'"),
        ({"score": math.nan}, "result 2: score is NaN"),
        ({"score": math.inf}, "result 2: score is Infinity"),
        ({"segmentation": None}, "result 2 has no mask"),
        (
            {"segmentation": {"size": [150, 120], "counts": "PPYo2"}},
            r"segmentation.size is \[150, 120\], but its image is \[120, 150\]",
        ),
        ({"segmentation": {"counts": "PPYo2"}}, "result 2: segmentation.size is missing"),
        ({"segmentation": {"size": [120, 150], "counts": ""}}, "result 2: segmentation.counts '' are damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "PP"}}, "result 2: segmentation.counts 'PP' are damaged"),
        ({"segmentation": {"size": [120, 150], "counts": "1"}}, "result 2: segmentation.counts '1' are damaged"),
        (
            {"segmentation": {"size": [120, 150], "counts": "\u00e9"}},
            "result 2: segmentation.counts '\u00e9' are damaged",
        ),
        ({"segmentation": {"size": [120, 150], "counts": "~~!"}}, "result 2: segmentation.counts '~~!' are damaged"),
        (
            {"segmentation": {"size": [120, 150], "counts": [17999]}},
            "result 2: segmentation.counts are of 17999 pixels, not 18000",
        ),
        ({"segmentation": {"size": [120, 150], "counts": [18001, -1]}}, r"result 2: segmentation.counts\[1\] is -1"),
        ({"segmentation": {"size": [120, 150], "counts": [18000.0]}}, r"result 2: segmentation.counts\[0\] is 18000.0"),
        ({"segmentation": {"size": [120, 150], "counts": 3}}, "result 2: segmentation.counts is 3"),
        ({"segmentation": []}, "result 2 has no mask"),
        (
            {"segmentation": [[1, 2, 3, 4, 5]]},
            r"result 2: segmentation\[0\] is \[1, 2, 3, 4, ...\]; allowed is flat polygons",
        ),
        ({"segmentation": [[1, 2]]}, "result 2: segmentation has its points as pairs"),
        ({"segmentation": [[1, 2, 3, 4, 5, math.nan]]}, r"result 2: segmentation\[0\]\[5\] is NaN"),
        ({"segmentation": [[1, 2, 3, 4, 5, 10**400]]}, r"result 2: segmentation\[0\]\[5\] is 1000"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e12]]}, r"result 2: segmentation\[0\] reaches 1000000000000"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, r"result 2: segmentation\[0\] is 1"),
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
        ({"keypoints": [0.0] * 49}, "result 2: keypoints has 49 numbers"),
        ({"keypoints": [0.0] * 50 + [math.nan]}, r"result 2: keypoints\[50\] is NaN"),
        ({"keypoints": [0.0] * 50 + ["1"]}, r"result 2: keypoints\[50\] is '1'"),
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
    with pytest.raises(InputError, match=rf"^{gt}: annotation 3{message[8:]}"):
        evaluate(gt, pred, iou_type="keypoints")


def test_boxes_are_for_all_results_or_none(tmp_path: Path) -> None:
    scene = nasty(0)
    scene.results[0]["bbox"] = [1, 2, 3, 4]
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=r"result 2 has no bbox"):
        evaluate(gt, pred)


@pytest.mark.parametrize("missing", ["image_id", "category_id", "score", "segmentation"])
def test_missing_fields_of_results_are_named(tmp_path: Path, missing: str) -> None:
    scene = nasty(0)
    del scene.results[0][missing]
    gt, pred = scene.write(tmp_path)
    with pytest.raises(InputError, match=rf"^{pred}: result 1(: {missing} is| has)"):
        evaluate(gt, pred)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged or no json"),
        ("[{}", "result 1: image_id is missing"),
        ("[", "is damaged or no json"),
        ("\x00", "is damaged or no json"),
        ("[" * 100000, "result 1 is wrong"),
        ("{}", "holds no list"),
        ("[3]", "result 1 is 3; it should be a json object"),
        ("[null]", "result 1 is None; it should be a json object"),
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
        (lambda c: c.update(categories=[]), "annotation 3: category_id is 1, which the file does not list"),
        (lambda c: c.update(categories=[{"id": 2, "name": "person"}]), "annotation 3: category_id is 1"),
        (lambda c: c["images"][0].update(id="a"), "both numbers and texts"),
        (lambda c: c["images"][0].update(id=None), "entry 1 of 'images': id is None"),
        (lambda c: c["images"].append(c["images"][0]), "occurs twice in 'images'"),
        (lambda c: c["annotations"].append({**c["annotations"][0]}), "the id 3 occurs twice in 'annotations'"),
        (lambda c: c["annotations"].append(3), "of 'annotations' is 3; it should be a json object"),
        (
            lambda c: c["annotations"][0].update(image_id=1001),
            "annotation 3: image_id is 1001, which the file does not list",
        ),
        (lambda c: c["annotations"][0].update(area=None), "annotation 3 has no area"),
        (lambda c: c["annotations"][0].update(iscrowd=2), "annotation 3: iscrowd is 2; allowed is 0, 1, false or true"),
        (lambda c: c["annotations"][0].update(segmentation=[[10, 10, 40, 40]]), r"annotation 3: segmentation\[0\] is"),
        (
            lambda c: c["annotations"][0].update(segmentation=[[1, 1, 9, 9, 9, 1e9]]),
            r"annotation 3: segmentation\[0\] re",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[]), "annotation 3 has no mask"),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 3 has no mask"),
        (
            lambda c: c["annotations"][0]["segmentation"].update(size=[3, 4]),
            r"annotation 3: segmentation.size is \[3, 4\]",
        ),
        (
            lambda c: c["annotations"][0]["segmentation"].update(counts="11"),
            "annotation 3: segmentation.counts '11' are damaged",
        ),
        (lambda c: c["images"][2].pop("height"), "image [0-9]+: height is missing"),
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
