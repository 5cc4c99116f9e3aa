"""Damaged json of COCO, of boxes, of MPII and of a stand-in's scenes."""

import json

import numpy as np
import pytest
from coco_scenes import SIZE, nasty
from mutations import altered_json, fuzz

from data_modules.datasets.coco_persons import to_labels
from data_modules.datasets.mpii import read_people
from data_modules.formats.coco_json import read_coco
from data_modules.synthetic.layouts.mpii import MPIIWriter
from data_modules.synthetic.layouts.vip import VIPWriter
from data_modules.synthetic.render.truth import load_truth
from partwise.evaluation.coco import evaluate
from partwise.predict.detectors import boxes_of_file


@pytest.fixture(params=[False, True], ids=["masks", "keypoints"])
def scene(request, tmp_path):
    """Ground truth and results, and what is compared of them."""
    made = nasty(0, request.param)
    made.truths, made.results = made.truths[:6], made.results[:6]
    made.ids = sorted({row["image_id"] for row in made.truths + made.results})
    gt, pred = made.write(tmp_path)
    return gt, pred, "keypoints" if request.param else "segm"


def test_ground_truth_of_coco(scene):
    _, pred, iou_type = scene
    fuzz(lambda gt: evaluate(gt, pred, workers=1, iou_type=iou_type), scene[0], altered_json)


def test_results_of_coco(scene):
    gt, pred, iou_type = scene
    fuzz(lambda pred: evaluate(gt, pred, workers=1, iou_type=iou_type), pred, altered_json)


def test_data_of_coco(scene):
    def read(file):
        index = read_coco(file)
        for name in index.names:
            to_labels(index.things(name, SIZE), SIZE, index.num_keypoints)

    fuzz(read, scene[0], altered_json)


def test_boxes_of_persons(tmp_path):
    file = tmp_path / "boxes.json"
    file.write_text("[[1, 2, 30, 40], [5.5, 6, 7, 8]]")
    fuzz(lambda file: boxes_of_file(file)(np.zeros((48, 64, 3), np.uint8)), file, altered_json)


def test_persons_of_mpii(tmp_path):
    MPIIWriter(photos=3, size=(48, 48), workers=1, form="json").write(tmp_path)
    file = tmp_path / "annot" / "train.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))
    fuzz(lambda file: read_people(tmp_path, "train"), file, altered_json)


def test_scenes_of_a_stand_in(tmp_path):
    VIPWriter(videos={"train": 1}, frames_per_video=1, size=(32, 48), annotate_every=1, workers=1).write(tmp_path)
    file = next(tmp_path.rglob("truth/*.json"))
    fuzz(lambda file: load_truth(file.parents[1], file.stem), file, altered_json)
