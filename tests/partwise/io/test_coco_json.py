"""COCO's json: what is read, and what is refused in one line that names the record, its field and what is allowed."""

from __future__ import annotations

import copy
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partwise.errors import InputError
from partwise.io.coco_json import read_annotations, read_results

SIZE = (40, 50)
TRIANGLE = [1, 1, 9, 1, 9.5, 9]
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 40, "width": 50, "license": None},
        {"id": 2, "file_name": "b.jpg", "height": 40, "width": 50},
        {"id": 3, "file_name": "c.jpg"},
    ],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 0, "segmentation": [TRIANGLE, TRIANGLE], "bbox": [1, 1, 8, 8],
         "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1, "area": 32.5, "iscrowd": 0, "track": {"anything": [1]}},
        {"image_id": 2, "category_id": 1, "segmentation": {"size": [40, 50], "counts": [1990, 10]}, "iscrowd": True},
        {"id": 9, "image_id": 3, "category_id": 1, "segmentation": [], "bbox": [], "keypoints": None, "iscrowd": False},
    ],
    "categories": [{"id": 0, "name": "person", "keypoints": ["nose", "tail"]}, {"id": 1, "name": "cat"}],
}  # fmt: skip
RESULTS: list[dict[str, Any]] = [
    {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": [TRIANGLE]},
    {"image_id": 2, "category_id": 9, "score": 1, "bbox": [-3, 0, 100, 0], "keypoints": [1, 2, 0.3], "extra": None},
]


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


def first(**values: Any) -> dict[str, Any]:
    return changed(lambda c: c["annotations"][0].update(values))


def masked(**values: Any) -> dict[str, Any]:
    return changed(lambda c: c["annotations"][1]["segmentation"].update(values))


def line(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(CONTENT))
    content = read_annotations(tmp_path / "gt.json")
    assert [image.size for image in content.images] == [SIZE, SIZE, None]
    assert [annotation.id for annotation in content.annotations] == [7, None, 9]
    assert [annotation.iscrowd for annotation in content.annotations] == [0, True, False]
    assert content.annotations[0].segmentation == [TRIANGLE, TRIANGLE]
    (tmp_path / "pred.json").write_text(json.dumps(RESULTS))
    results = read_results(tmp_path / "pred.json", {1: SIZE, 2: None}, tmp_path / "gt.json")
    assert [(row.image_id, row.score) for row in results] == [(1, 0.5), (2, 1)]
    (tmp_path / "pred.json").write_text("[]")
    assert read_results(tmp_path / "pred.json", {}, tmp_path / "gt.json") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(annotations=[]),
        lambda c: [row.update(id=f"image {row['id']}") for row in c["images"]] and c["annotations"].clear(),
        lambda c: [row.update(id=2**60 + n) for n, row in enumerate(c["images"])] and c["annotations"].clear(),
        lambda c: c["annotations"][0].update(id=2**53 + 1),
        lambda c: c["annotations"][0].update(keypoints=[0] * 6, num_keypoints=0),
        lambda c: c["annotations"][0].update(bbox=[-3, -4, 0, 0]),
        lambda c: c["annotations"][0].update(segmentation=[[1, 1, 9, 9, 9, 1, 1, 9]]),
        lambda c: c["annotations"][0].pop("area"),
        lambda c: c["annotations"][1].update(category_id=0),
        lambda c: c["images"][0].update(file_name="train2017/a.jpg"),
        lambda c: c.update(info=None, licenses="none"),
    ],
)
def test_what_is_right_though_rare(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    content = changed(change)
    (tmp_path / "gt.json").write_text(json.dumps(content))
    found = read_annotations(tmp_path / "gt.json")
    assert [row.id for row in found.images] == [row["id"] for row in content["images"]]
    assert [row.id for row in found.annotations] == [row.get("id") for row in content["annotations"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(lambda c: c["images"][1].update(id=1)), "the id 1 occurs twice in 'images'"),
        (changed(lambda c: c["categories"][1].update(id=0)), "the id 0 occurs twice in 'categories'"),
        (first(id=9), "the id 9 occurs twice in 'annotations'"),
        (changed(lambda c: c["images"][1].update(id="2")), "both numbers and texts for ids"),
        (first(image_id=4), "annotation 7: image_id is 4, which the file does not list"),
        (first(image_id="1"), "annotation 7: image_id is '1', which the file does not list"),
        (first(image_id=1.0), "annotation 7: image_id is 1.0; allowed is the id of a listed image"),
        (first(category_id=3), "annotation 7: category_id is 3, which the file does not list"),
        (changed(lambda c: c["annotations"][1].pop("image_id")), "entry 2 of 'annotations': image_id is missing"),
        (changed(lambda c: c["annotations"][1].update(iscrowd=2)), "entry 2 of 'annotations': iscrowd is 2; allowed"),
        (first(id=True), "entry 1 of 'annotations': id is True; allowed is a whole number or a text"),
        (first(id="a\nb", iscrowd=3), "annotation 'a\\nb': iscrowd is 3"),
        (first(segmentation=[[1, 1], [9, 1], [9, 9]]), "annotation 7: segmentation has its points as pairs [x, y]"),
        (first(segmentation=[[[1, 1], [9, 1], [9, 9]]]), "annotation 7: segmentation has its points as pairs [x, y]"),
        (first(segmentation=TRIANGLE), "annotation 7: segmentation[0] is 1; allowed is flat polygons [[x, y, x, y,"),
        (first(segmentation=[TRIANGLE, [1, 1, 9, 9]]), "annotation 7: segmentation[1] is [1, 1, 9, 9]; allowed is"),
        (first(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 7: segmentation[0] has 7 numbers; allowed is flat"),
        (first(segmentation=[TRIANGLE, {"size": [40, 50], "counts": [2000]}]), "annotation 7: segmentation[1] is {"),
        (first(segmentation="poly"), "annotation 7: segmentation is 'poly'"),
        (first(segmentation=[[1, 1, 9, 1, 9, 1e9]]), "annotation 7: segmentation[0] reaches 1000000000.0; allowed is "),
        (first(segmentation=[[1, 1, 9, 1, 9, -501]]), "annotation 7: segmentation[0] reaches -501.0"),
        (first(segmentation=[[1, 1, 9, 1, 9, math.nan]]), "annotation 7: segmentation[0][5] is NaN"),
        (masked(size=[50, 40]), "entry 2 of 'annotations': segmentation.size is [50, 40], but its image is [40, 50]"),
        (masked(size=[0, 50]), "entry 2 of 'annotations': segmentation.size[0] is 0; allowed is RLE"),
        (masked(counts=[1990, 11]), "segmentation.counts are of 2001 pixels, not 2000; allowed is RLE"),
        (masked(counts=[2001, -1]), "segmentation.counts[1] is -1"),
        (masked(counts="n"), "segmentation.counts 'n' are damaged"),
        (masked(counts=None), "segmentation.counts is None"),
        (first(iscrowd="0"), "annotation 7: iscrowd is '0'; allowed is 0, 1, false or true"),
        (first(iscrowd=0.0), "annotation 7: iscrowd is 0.0"),
        (first(bbox=[1, 1, -8, 8]), "annotation 7: bbox is [1.0, 1.0, -8.0, 8.0]; allowed is left, top, width, height"),
        (first(bbox=[1, 1, 8]), "annotation 7: bbox is [1.0, 1.0, 8.0]"),
        (first(bbox=[1, 1, 8, 1e300]), "annotation 7: bbox is [1.0, 1.0, 8.0, 1e+300]"),
        (first(bbox=[1, 1, 8, math.inf]), "annotation 7: bbox[3] is Infinity"),
        (first(keypoints=[1, 2, 2]), "annotation 7: keypoints has 3 numbers for 2 keypoints"),
        (first(keypoints=[1, 2, 2, 4, 5, 3]), "annotation 7: keypoints has the visibility 3.0"),
        (first(keypoints=[1, 2, 2, 4, 5e5, 1]), "annotation 7: keypoints reaches 500000.0"),
        (first(keypoints=[1, 2, 2, 4, None, 1]), "annotation 7: keypoints[4] is None"),
        (first(area=-1), "annotation 7: area is -1; allowed is a finite number of pixels from 0"),
        (first(num_keypoints=-1), "annotation 7: num_keypoints is -1"),
        (changed(lambda c: c["images"][0].update(width=50.0)), "image 1: width is 50.0; allowed is a whole number of"),
        (changed(lambda c: c["images"][0].update(width=0)), "image 1: width is 0"),
        (changed(lambda c: c["images"][0].update(width=32768)), "image 1: width is 32768"),
        (changed(lambda c: c["images"][0].update(width="50")), "image 1: width is '50'"),
        (changed(lambda c: c["images"][0].pop("width")), "image 1: width is missing"),
        (changed(lambda c: c["images"][0].pop("id")), "entry 1 of 'images': id is missing"),
        (changed(lambda c: c["images"][0].update(file_name=3)), "image 1: file_name is 3; allowed is a text"),
        (changed(lambda c: c["categories"][0].update(keypoints=[1])), "category 0: keypoints[0] is 1; allowed are"),
        (changed(lambda c: c["categories"][0].update(id=None)), "entry 1 of 'categories': id is None"),
        (changed(lambda c: c["annotations"].append(None)), "entry 4 of 'annotations' is None; it should be"),
        (changed(lambda c: c.update(annotations={})), "has no list 'annotations'"),
        (changed(lambda c: c.pop("categories")), "has no list 'categories'"),
        ([CONTENT], "has no list 'images'"),
        (3, "has no list 'images'"),
        (RESULTS, "has no list 'images'"),
    ],
)  # fmt: skip
def test_wrong_annotations_are_named(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "gt.json"
    file.write_text(json.dumps(content))
    said = line(lambda: read_annotations(file))
    assert said.startswith(str(file))
    assert message in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": math.nan}, "score is NaN; allowed is a finite number"),
        ({"score": True}, "score is True"),
        ({"image_id": 3}, "is for image 3, which"),
        ({"bbox": [0, 0, 1, 1e6]}, "bbox is [0.0, 0.0, 1.0, 1000000.0]"),
        ({"bbox": [0, 0, -1, 1]}, "bbox is"),
        ({"keypoints": [1, 2]}, "keypoints has 2 numbers"),
        ({"keypoints": [1, 1e300, 2]}, "keypoints reaches 1e+300"),
        ({"segmentation": [[1, 1, 9, 1, 9, 1e9]]}, "segmentation[0] reaches 1000000000.0"),
        ({"segmentation": {"size": [50, 40], "counts": "PPYo1"}}, "segmentation.size is [50, 40]"),
    ],
)
def test_wrong_results_are_named(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "pred.json"
    file.write_text(json.dumps([RESULTS[0], RESULTS[0] | values]))
    said = line(lambda: read_results(file, {1: SIZE, 2: SIZE}, tmp_path / "gt.json"))
    assert said.startswith(f"{file}: result 2")
    assert message in said


@pytest.mark.parametrize("content", [{"annotations": RESULTS}, CONTENT, 3, "text", None])
def test_results_that_are_no_list(content: Any, tmp_path: Path) -> None:
    (tmp_path / "pred.json").write_text(json.dumps(content))
    assert "holds no list" in line(lambda: read_results(tmp_path / "pred.json", {1: SIZE}, tmp_path / "gt.json"))


TEXT = json.dumps(CONTENT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_bytes(json.dumps(CONTENT | {"info": "é"}, ensure_ascii=False).encode(encoding))
    assert len(read_annotations(tmp_path / "gt.json").annotations) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (TEXT[:-1].encode(), "is damaged or no json"),
        (TEXT[: len(TEXT) // 2].encode(), "is damaged or no json"),
        (TEXT.encode() + b"}", "is damaged or no json"),
        (gzip.compress(TEXT.encode()), "packed by gzip"),
        (TEXT.replace("a.jpg", "\xff").encode("latin-1"), "is damaged or no json"),
        (TEXT.encode("utf-16")[:-1], "is damaged or no json"),
        (TEXT.replace('"license": null', '"license": NaN').encode(), "is damaged or no json"),
        (b'{"info": ' + b"[" * 100000 + b"]" * 100000 + TEXT[1:].encode(), "is damaged or no json"),
        (b"[" * 100000, "has no list 'images'"),
        (b"<!DOCTYPE html>", "is damaged or no json"),
        (rb'"\ud800"', "is damaged or no json"),
        (TEXT.replace('"area": 32.5', '"area": 1e400').encode(), "annotation 7: area is inf"),
        (TEXT.replace('"area": 32.5', '"area": ' + "9" * 5000).encode(), "'annotations': area is wrong"),
        (TEXT.replace('"area": 32.5', '"image_id": 2').encode(), "an object has 'image_id' twice, 1 and 2; keep one"),
        (TEXT.replace('"categories"', '"annotations": [], "categories"').encode(), "has 'annotations' twice"),
    ],
)
def test_files_that_are_no_json(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "gt.json"
    file.write_bytes(data)
    said = line(lambda: read_annotations(file))
    assert said.startswith(str(file))
    assert message in said


def test_other_paths_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.json"):
        assert "is missing; name a json file" in line(lambda path=path: read_annotations(path))


def test_names_that_only_look_like_keys_are_no_harm(tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(CONTENT | {"info": {"annotations": 1, "of": ["images", "images"]}}))
    assert len(read_annotations(tmp_path / "gt.json").images) == 3
