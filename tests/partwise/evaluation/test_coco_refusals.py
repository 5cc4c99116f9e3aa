"""Files and options that COCO's evaluation refuses, each in one line that names what is wrong."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_scenes import (
    nasty,
)
from pycocotools import mask as rle

from data_modules.synthetic.layouts.coco_json import compressed
from partwise.errors import InputError
from partwise.evaluation.coco import evaluate
from partwise.scores import coco_rle

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
