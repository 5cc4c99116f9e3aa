"""Results of people who overlap: written by `predict`, scored from the files, equal to the metrics of training."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_scenes import directly
from pycocotools import mask as rle

from data_modules.synthetic.layouts.coco_json import compressed
from partwise.batches import map_of
from partwise.io.images import read_ids, write_image
from partwise.io.video import VideoWriter
from partwise.labels import FOREGROUND
from partwise.metrics.coco import COCOMetrics
from partwise.predict.predict import predict

SIZE = (120, 150)
EVALUATE = Path(__file__).parents[3] / "scripts" / "evaluate.py"


def people(rng, count, scored, posed=True):
    """Ellipses anywhere and of any size, with keypoints."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = torch.zeros(count, *SIZE, dtype=torch.bool)
    keypoints = torch.zeros(count, 17, 3)
    for mask, joints in zip(masks, keypoints, strict=True):
        center, radius = rng.uniform(10, 100, 2), rng.uniform(8, 70, 2)
        mask[:] = torch.from_numpy((((y - center[0]) / radius[0]) ** 2 + ((x - center[1]) / radius[1]) ** 2) < 1)
        joints[:] = torch.from_numpy(np.column_stack([rng.normal(center[::-1], 20, (17, 2)), rng.integers(0, 3, 17)]))
    found = {"masks": masks, "classes": torch.ones(count, dtype=torch.int64)}
    found |= {"scores": torch.from_numpy(rng.permutation(9)[:count] / 10).float()} if scored else {}
    return found | ({"keypoints": keypoints} if posed else {})


class Overlapping:
    """Hands out the parsings of frames in order."""

    label_set = FOREGROUND

    def __init__(self, parsings):
        self.parsings = iter(parsings)

    def stream(self, frames):
        for _ in frames:
            yield next(self.parsings)


def scene(images=8):
    """Truths, and parsings that are more or less right."""
    rng, truths, parsings = np.random.default_rng(0), [], []
    for _ in range(images):
        truth, stray = people(rng, 4, scored=False), people(rng, 6, scored=True)
        stray["masks"][:3] = truth["masks"][:3].roll(tuple(rng.integers(-4, 5, 2).tolist()), (1, 2))
        stray["keypoints"][:3] = truth["keypoints"][:3] + torch.tensor([2.0, -1.0, 0.0])
        stray["masks"][5] = False
        parts = torch.zeros(SIZE, dtype=torch.int64)
        truths.append({"parts": parts, "persons": truth})
        parsings.append({"parts": stray["masks"].any(0).long(), "persons": stray})
    return truths, parsings


def write_truth(file, truths):
    """COCO's json of the truths."""
    rows = []
    for image, truth in enumerate(truths):
        for mask, joints in zip(truth["persons"]["masks"].numpy(), truth["persons"]["keypoints"], strict=True):
            encoded = compressed(mask)
            seen = int((joints[:, 2] > 0).sum())
            about = {"id": len(rows) + 1, "image_id": image, "category_id": 1, "iscrowd": 0, "area": int(mask.sum())}
            box = rle.toBbox({**encoded, "counts": encoded["counts"].encode()}).tolist()
            rows.append(about | {"segmentation": encoded, "bbox": box, "num_keypoints": seen,
                                 "keypoints": joints.flatten().tolist()})  # fmt: skip
    images = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(truths))]
    file.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of results, the truths' json, and both as the metric takes them."""
    folder = tmp_path_factory.mktemp("overlapping")
    truths, parsings = scene()
    for n in range(len(truths)):
        write_image(folder / "in" / f"{n}.png", np.full((*SIZE, 3), 90, np.uint8))
    summary = predict(Overlapping(parsings), folder / "in", folder / "out")
    assert summary.persons == 5 * len(truths)  # the sixth has no pixels
    write_truth(folder / "gt.json", truths)
    return folder, truths, parsings


def by_command(gt, pred, iou_type, monkeypatch, tmp_path):
    """Metrics of scripts/evaluate.py."""
    arguments = ["evaluate.py", "coco", "--gt", gt, "--pred", pred, "--iou-type", iou_type, "--workers", 1]
    monkeypatch.setattr(sys, "argv", [str(part) for part in (*arguments, "--json", tmp_path / "metrics.json")])
    runpy.run_path(str(EVALUATE), run_name="__main__")
    return json.loads((tmp_path / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("iou_type", "left_out"),
    [("segm", ()), ("segm", ("bbox",)), ("keypoints", ()), ("keypoints", ("bbox", "segmentation"))],
)
def test_the_evaluation_of_the_files_equals_the_metric(written, iou_type, left_out, monkeypatch, tmp_path):
    """All of it where results have masks alone, or keypoints alone: COCO takes areas from boxes, else masks, first."""
    folder, truths, parsings = written
    metric = COCOMetrics()
    for n, (truth, parsing) in enumerate(zip(truths, parsings, strict=True)):
        persons = parsing["persons"]
        kept = persons["masks"].flatten(1).any(1)  # files have no row of a person without pixels
        found: Any = {"parts": parsing["parts"], "persons": {k: v[kept] for k, v in persons.items()}}
        metric.update([n], [found], [truth])
    prefix = "keypoints_" if iou_type == "keypoints" else ""
    expected = {name.removeprefix(prefix): v for name, v in metric.compute().items() if name.startswith(prefix)}
    rows = json.loads((folder / "out" / "persons.json").read_text())
    pred = tmp_path / "rows.json"
    pred.write_text(json.dumps([{k: v for k, v in row.items() if k not in left_out} for row in rows]))
    values = by_command(folder / "gt.json", pred, iou_type, monkeypatch, tmp_path)
    assert 0.1 < values["AP"] < 0.9
    same = list(values) if left_out else ["AP", "AP50", "AP75", "AR"]  # those of all areas
    assert {k: values[k] for k in same} == pytest.approx({k: expected[k] for k in same}, abs=1e-9)
    assert values == pytest.approx(directly(folder / "gt.json", pred, iou_type), abs=1e-9)


def test_rows_hold_whole_people_and_the_map_the_front_one(written):
    folder, _, parsings = written
    rows = json.loads((folder / "out" / "persons.json").read_text())
    for n, parsing in enumerate(parsings):
        persons, own = parsing["persons"], [row for row in rows if row["image_id"] == n]
        assert [row["person_id"] for row in own] == [1, 2, 3, 4, 5]
        for row, mask, joints in zip(own, persons["masks"], persons["keypoints"], strict=False):
            np.testing.assert_array_equal(rle.decode(row["segmentation"]).astype(bool), mask.numpy())
            assert row["keypoints"] == pytest.approx(joints.flatten().tolist())
        np.testing.assert_array_equal(read_ids(folder / "out" / "persons" / f"{n}.png"), map_of(persons).numpy())


def test_people_of_a_video_keep_their_ids_though_one_hides_another(tmp_path):
    frames = [np.full((*SIZE, 3), 90, np.uint8)] * 6
    with VideoWriter(tmp_path / "in.mp4", 25, SIZE) as video:
        for frame in frames:
            video.write(frame)

    def parsing(t):
        masks = torch.zeros(2, *SIZE, dtype=torch.bool)
        masks[t % 2, 20:100, 20:130] = True  # rows swap in every frame
        masks[1 - t % 2, 40:90, 20 + 10 * t : 50 + 10 * t] = True
        scores = torch.tensor([0.9, 0.5]) if t % 2 == 0 else torch.tensor([0.5, 0.9])
        persons = {"masks": masks, "classes": torch.ones(2, dtype=torch.int64), "scores": scores}
        return {"parts": masks.any(0).long(), "persons": persons}

    predict(Overlapping(parsing(t) for t in range(6)), tmp_path / "in.mp4", tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "persons.json").read_text())
    assert [row["person_id"] for row in rows] == [1, 2, 2, 1] * 3
    assert all(row["bbox"][2] == (110 if row["person_id"] == 1 else 30) for row in rows)
    assert np.unique(read_ids(tmp_path / "out" / "persons" / "000005.png")).tolist() == [0, 1]  # the second is hidden
