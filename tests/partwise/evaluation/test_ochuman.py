"""OCHuman's three metrics against pycocotools run on each json with results renamed by hand, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_scenes import BACKENDS, summary
from pycocotools import mask as rle
from pycocotools.coco import COCO

from data_modules.ochuman import OCHumanDataModule
from data_modules.synthetic.layouts.coco_json import compressed
from data_modules.synthetic.layouts.ochuman import OCHumanWriter
from partwise.batches import InstanceMasks, Parsing
from partwise.errors import InputError
from partwise.evaluation.ochuman import evaluate
from partwise.metrics.coco import OCHumanMetrics

SUBSETS = {"AP": "0.00_1.00", "AP_M": "0.50_0.75", "AP_H": "0.75_1.00"}
SIZE = (60, 80)


def json_of(folder: Path, overlap: str, split: str = "val") -> Path:
    return folder / f"ochuman_coco_format_{split}_range_{overlap}.json"


def write(file: Path, people: list[dict[str, Any]], names: list[str]) -> None:
    """People of the pictures of those names, numbered in that order, as OCHuman's API writes them."""
    numbers = {name: n for n, name in enumerate(names, 1)}
    images = [{"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for name, n in numbers.items()]
    rows = [{key: value for key, value in p.items() if key not in ("name", "overlap")} for p in people]
    annotations = [
        {"id": n, "image_id": numbers[p["name"]], "category_id": 1, "iscrowd": 0, **row}
        for n, (p, row) in enumerate(zip(people, rows, strict=True), 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def person(rng: np.random.Generator) -> dict[str, Any]:
    x, y, width, height = (int(v) for v in rng.integers((0, 0, 25, 25), (40, 25, 40, 35)))
    mask = np.zeros(SIZE, bool)
    mask[y : y + height, x : x + width] = 1
    keypoints = np.column_stack([rng.uniform(x, x + width, 17), rng.uniform(y, y + height, 17), rng.integers(1, 3, 17)])
    return {
        "segmentation": compressed(mask), "bbox": [x, y, width, height],
        "area": width * height, "keypoints": keypoints.ravel().tolist(), "num_keypoints": 17,
    }  # fmt: skip


def guess(truth: dict[str, Any], image: int, rng: np.random.Generator) -> dict[str, Any]:
    shift = tuple(rng.integers(-4, 5, 2))
    return {
        "image_id": image, "category_id": 1, "score": int(rng.integers(1, 6)) / 5,
        "segmentation": compressed(np.roll(rle.decode(truth["segmentation"]), shift, (0, 1))),
        "keypoints": (np.array(truth["keypoints"]) + rng.normal(0, 3, 51)).tolist(),
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Nine pictures; the subsets list theirs in another order."""
    rng = np.random.default_rng(0)
    names = [f"{n:06d}.jpg" for n in rng.permutation(9)]
    people = [person(rng) | {"name": n, "overlap": rng.random()} for n in names for _ in range(rng.integers(1, 4))]
    folder = tmp_path / "OCHuman"
    write(json_of(folder, SUBSETS["AP"]), people, names)
    for name, low, high in (("AP_M", 0.5, 0.75), ("AP_H", 0.75, 1)):
        chosen = [p for p in people if low <= p["overlap"] < high]
        write(json_of(folder, SUBSETS[name]), chosen, sorted({p["name"] for p in chosen}))
    results = [guess(p, names.index(p["name"]) + 1, rng) for p in people for _ in range(2)]
    (tmp_path / "results.json").write_text(json.dumps(results))
    return folder, tmp_path / "results.json"


def directly(folder: Path, pred: Path, iou_type: str, split: str = "val") -> dict[str, float]:
    """pycocotools on each json, with the results of its pictures under its ids."""
    names = {i["id"]: i["file_name"] for i in json.loads(json_of(folder, SUBSETS["AP"], split).read_text())["images"]}
    rows, found = json.loads(pred.read_text()), {}
    for metric, overlap in SUBSETS.items():
        truth = COCO(str(json_of(folder, overlap, split)))
        ids = {row["file_name"]: i for i, row in truth.imgs.items()}
        own = [{**r, "image_id": ids[names[r["image_id"]]]} for r in rows if names[r["image_id"]] in ids]
        found[metric] = summary(truth, own, iou_type)["AP"]
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_equals_pycocotools(files: tuple[Path, Path], iou_type: str, backend: str) -> None:
    metrics = evaluate(*files, iou_type=iou_type, backend=backend)
    assert list(metrics) == list(SUBSETS)
    assert len(set(metrics.values())) == 3
    assert metrics == pytest.approx(directly(*files, iou_type), abs=1e-12)


def test_files_may_be_in_annotations_or_one_be_named(files: tuple[Path, Path]) -> None:
    folder, pred = files
    before = evaluate(folder, pred)
    assert evaluate(json_of(folder, SUBSETS["AP"]), pred) == before
    (folder / "annotations").mkdir()
    for overlap in SUBSETS.values():
        file = json_of(folder, overlap)
        file.rename(folder / "annotations" / file.name)
    assert evaluate(folder, pred) == before


def test_of_several_splits_one_must_be_named(files: tuple[Path, Path]) -> None:
    folder, pred = files
    for overlap in SUBSETS.values():
        json_of(folder, overlap, "test").write_bytes(json_of(folder, overlap).read_bytes())
    with pytest.raises(InputError, match=r"several splits; .*test_range_0.00_1.00.json or .*val_range_0.00_1.00.json"):
        evaluate(folder, pred)
    assert evaluate(json_of(folder, SUBSETS["AP"], "test"), pred)["AP"] is not None


@pytest.mark.parametrize("pictures", [0, 2])
def test_a_subset_without_persons_is_undefined(files: tuple[Path, Path], pictures: int) -> None:
    folder, pred = files
    names = [i["file_name"] for i in json.loads(json_of(folder, SUBSETS["AP"]).read_text())["images"]]
    write(json_of(folder, SUBSETS["AP_H"]), [], names[:pictures])
    metrics = evaluate(folder, pred)
    assert metrics["AP_H"] is None
    assert metrics["AP_M"] is not None


def test_a_subset_without_detections_is_0(files: tuple[Path, Path]) -> None:
    folder, pred = files
    names = {i["file_name"] for i in json.loads(json_of(folder, SUBSETS["AP_H"]).read_text())["images"]}
    full = {i["id"]: i["file_name"] for i in json.loads(json_of(folder, SUBSETS["AP"]).read_text())["images"]}
    rows = [r for r in json.loads(pred.read_text()) if full[r["image_id"]] not in names]
    pred.write_text(json.dumps(rows))
    assert evaluate(folder, pred)["AP_H"] == 0


def _changed(overlap: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = json.loads(json_of(folder, overlap).read_text())
        change(content)
        json_of(folder, overlap).write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: json_of(f, "0.50_0.75").unlink(), "val_range_0.50_0.75.json is missing"),
        (lambda f: json_of(f, "0.00_1.00").unlink(), "does not hold ochuman_coco_format_.*; name the folder"),
        (lambda f: json_of(f, "0.75_1.00").write_text("{"), "val_range_0.75_1.00.json is damaged"),
        (_changed("0.00_1.00", lambda c: c["annotations"].clear()), "0.00_1.00.json annotates no person"),
        (
            _changed("0.75_1.00", lambda c: c["images"][0].update(file_name="x.jpg")),
            "0.75_1.00.json lists x.jpg, .*not",
        ),
        (_changed("0.75_1.00", lambda c: c["images"][0].pop("file_name")), "0.75_1.00.json: image 1 has no file_name"),
        (
            _changed("0.00_1.00", lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"])),
            "0.00_1.00.json: image 2 has no file_name of its own",
        ),
    ],
)
def test_bad_folders_are_named(files: tuple[Path, Path], spoil: Callable[[Path], None], message: str) -> None:
    spoil(files[0])
    with pytest.raises(InputError, match=message) as caught:
        evaluate(*files)
    assert "\n" not in str(caught.value)


def test_pictures_of_another_size_are_named(files: tuple[Path, Path]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 1]
        content["images"][0]["width"] += 1

    _changed("0.75_1.00", change)(files[0])
    with pytest.raises(InputError, match=r"jpg has another size in .*0.75_1.00.json than in .*0.00_1.00.json"):
        evaluate(*files)


def test_bad_results_are_named(files: tuple[Path, Path]) -> None:
    folder, pred = files
    rows = json.loads(pred.read_text())
    pred.write_text(json.dumps([*rows, {**rows[0], "image_id": 99}]))
    with pytest.raises(InputError, match=rf"^{pred}: result {len(rows) + 1} is for image 99, which .*0.00_1.00.json"):
        evaluate(folder, pred)


@pytest.mark.parametrize("name", ["nowhere", "results.json"])
def test_other_paths_are_named(files: tuple[Path, Path], name: str) -> None:
    path = files[1].with_name(name)
    with pytest.raises(InputError, match=rf"{name} is (missing|not the json of all persons)"):
        evaluate(path, files[1])


def test_the_rendered_stand_in(tmp_path: Path) -> None:
    OCHumanWriter(photos={"val": 5}, size=(96, 128), workers=1).write(tmp_path / "OCHuman")
    truth = json.loads(json_of(tmp_path / "OCHuman", SUBSETS["AP"]).read_text())
    keys = ("image_id", "category_id", "segmentation", "bbox")
    results = [{key: row[key] for key in keys} | {"score": 0.9} for row in truth["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(results))
    first = json_of(tmp_path / "OCHuman", SUBSETS["AP"])
    metrics = evaluate(first, tmp_path / "results.json")
    assert metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_real_annotations(tmp_path: Path, real: Path, iou_type: str) -> None:
    """The sample has the json of all persons only; of the subsets the test makes its own."""
    content = json.loads(json_of(real / "ochuman", SUBSETS["AP"]).read_text())
    folder, rng = tmp_path / "OCHuman", np.random.default_rng(0)
    folder.mkdir()
    json_of(folder, SUBSETS["AP"]).write_text(json.dumps(content))
    for name, images in (("AP_M", content["images"][1:]), ("AP_H", content["images"][:1])):
        new = {row["id"]: n for n, row in enumerate(images, 1)}
        own = [{**a, "image_id": new[a["image_id"]]} for a in content["annotations"] if a["image_id"] in new]
        renamed = [{**row, "id": new[row["id"]]} for row in images]
        json_of(folder, SUBSETS[name]).write_text(
            json.dumps({**content, "images": renamed, "annotations": own[: len(own) // 2 + 1]})
        )
    results = []
    for row in content["annotations"]:
        mask = np.roll(rle.decode(row["segmentation"]), tuple(rng.integers(-30, 30, 2)), (0, 1))
        results.append({
            "image_id": row["image_id"], "category_id": 1, "score": float(rng.random()),
            "segmentation": compressed(mask),
            "keypoints": (np.array(row["keypoints"]) + rng.normal(0, 20, 51)).tolist(),
        })  # fmt: skip
    pred = tmp_path / "results.json"
    pred.write_text(json.dumps(results))
    metrics = evaluate(folder, pred, iou_type=iou_type)
    assert metrics == pytest.approx(directly(folder, pred, iou_type), abs=1e-12)


def test_nothing_found(files: tuple[Path, Path]) -> None:
    files[1].write_text("[]")
    assert evaluate(*files) == {"AP": 0, "AP_M": 0, "AP_H": 0}


def test_the_metrics_of_training_are_those_of_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    OCHumanWriter(photos={"val": 24, "test": 1}, size=SIZE, workers=1).write(tmp_path)
    data = OCHumanDataModule(root=tmp_path, splits={"train": "val", "val": "val"}, num_workers=0)
    metrics, rows = OCHumanMetrics(), []
    dataset: Any = data.dataset("val")
    for n, sample in enumerate(dataset):
        persons = sample["annotations"]["persons"]
        masks = torch.stack([m.roll(tuple(rng.integers(-3, 4, 2)), (0, 1)) for m in persons["masks"]])
        scores = torch.from_numpy(rng.random(len(masks)).astype(np.float32))
        found = InstanceMasks(masks=masks, classes=persons["classes"], scores=scores)
        metrics.update([n], [Parsing(parts=masks.any(0).long(), persons=found)], [sample["annotations"]])
        image = dataset.index.image_ids[dataset.index.names.index(sample["sample_ids"])]
        rows += [
            {"image_id": image, "category_id": 1, "score": float(s), "segmentation": compressed(m.numpy())}
            for m, s in zip(masks, scores, strict=True)
        ]
    (tmp_path / "pred.json").write_text(json.dumps(rows))
    computed, evaluated = metrics.compute(), evaluate(json_of(tmp_path, SUBSETS["AP"]), tmp_path / "pred.json")
    assert evaluated["AP_M"] is not None
    for name in SUBSETS:
        expected = np.nan if evaluated[name] is None else evaluated[name]
        assert computed[name] == pytest.approx(expected, abs=1e-6, nan_ok=True)
