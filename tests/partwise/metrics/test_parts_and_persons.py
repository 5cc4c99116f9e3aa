import json
import math

import pytest
import torch

from partwise.labels import VIP, LabelSet
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.scores.vip import HUMAN_THRESHOLDS, PART_THRESHOLDS

TINY = LabelSet("tiny", ("background", "head", "torso"))
LEVELS = ("ap_50", "ap_60", "ap_70")


def instances(ids, classes, scores=None):
    result = {"map": torch.tensor(ids), "classes": torch.tensor(classes, dtype=torch.int64)}
    return result if scores is None else {**result, "scores": torch.tensor(scores)}


def truth():
    """Person 1 has a head and a torso; person 2 a torso only."""
    return {
        "parts": torch.tensor([[1, 1, 2, 2, 0, 2, 2, 255]]),
        "persons": instances([[1, 1, 1, 1, 0, 2, 2, 0]], [1, 1]),
        "part_instances": instances([[1, 1, 2, 2, 0, 3, 3, 0]], [1, 2, 2]),
    }


def prediction():
    """Person 1 misses a pixel (IoU 3/4), person 2 is right; so are the parts, but for a head of one pixel."""
    return {
        "parts": torch.tensor([[1, 0, 2, 2, 0, 2, 2, 2]]),
        "persons": instances([[1, 0, 1, 1, 0, 2, 2, 0]], [1, 1], [0.9, 0.8]),
        "boxes": torch.tensor([[0.0, 0, 4, 1], [5, 0, 7, 1]]),
        "part_instances": instances([[1, 0, 2, 2, 0, 3, 3, 0]], [1, 2, 2], [0.9, 0.8, 0.7]),
    }


def measured(pred, target, label_set=TINY, **kwargs):
    metrics = VIPMetrics(label_set, **kwargs)
    metrics.update([0], [pred], [target])
    return metrics


def test_thresholds():
    assert HUMAN_THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert PART_THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def test_closed_form():
    flat = measured(prediction(), truth()).compute()
    assert flat["miou"] == pytest.approx((50 + 50 + 100) / 3)
    assert flat["pixel_accuracy"] == pytest.approx(600 / 7)
    assert flat["fg_accuracy"] == pytest.approx(500 / 6)
    for kind in ("human", "human_authors"):
        # Up to .7 all is found; from .75 on the first of two detections is false.
        assert flat[f"{kind}_ap"] == pytest.approx((5 * 100 + 5 * 25) / 10)
        assert flat[f"{kind}_ap_vol"] == pytest.approx((7 * 100 + 2 * 25) / 9)
        assert [flat[f"{kind}_ap_80"], flat[f"{kind}_ap_90"]] == [25, 25]
        assert [flat[f"{kind}_{level}"] for level in LEVELS] == [100, 100, 100]
    for kind in ("part", "part_authors"):
        # Torsos are all found; the head has IoU 1/2, which exceeds .1 to .4 only.
        assert flat[f"{kind}_ap_vol"] == pytest.approx((4 * 100 + 5 * 50) / 9)
        assert [flat[f"{kind}_{level}"] for level in LEVELS] == [50, 50, 50]


def test_keys():
    metrics = measured(prediction(), truth())
    instance_keys = {
        f"{kind}{matching}_{metric}"
        for kind, more in (("human", ("ap", "ap_80", "ap_90")), ("part", ()))
        for matching in ("", "_authors")
        for metric in ("ap_vol", *LEVELS, *more)
    }
    flat, report = metrics.compute(), metrics.report()
    class_keys = {f"iou_{name}" for name in TINY.names}
    assert set(flat) == {"miou", "pixel_accuracy", "fg_accuracy"} | instance_keys | class_keys
    assert [flat[f"iou_{name}"] for name in TINY.names] == [50, 50, 100]
    assert all(type(value) is float for value in flat.values())
    assert list(report) == ["miou", "iou_per_class", "human", "part"]
    for kind, names in (("human", ["ap", *LEVELS, "ap_80", "ap_90", "ap_vol"]), ("part", ["ap_vol", *LEVELS])):
        assert set(report[kind]) == {"authors", "one_to_one"}
        for matching, values in report[kind].items():
            prefix = kind if matching == "one_to_one" else f"{kind}_{matching}"
            assert list(values) == names
            assert values == {name: flat[f"{prefix}_{name}"] for name in values}
    assert report["iou_per_class"] == [50, 50, 100]


def test_undefined_metrics_are_null():
    """No hat in ground truth, one in the predictions: the authors' part metrics have no value."""
    pred = prediction()
    pred["part_instances"] = instances([[1, 0, 2, 2, 0, 3, 3, 4]], [1, 2, 2, 3], [0.9, 0.8, 0.7, 0.1])
    metrics = measured(pred, truth(), VIP)
    report = json.loads(json.dumps(metrics.report(), allow_nan=False))
    assert report["part"]["authors"] == dict.fromkeys(("ap_vol", *LEVELS))
    assert report["part"]["one_to_one"]["ap_50"] == 50  # head 0, torso 100; hat has no objects
    assert report["human"]["authors"]["ap_50"] == 100
    assert report["iou_per_class"][:3] == [50, 50, 100]
    assert report["iou_per_class"][3:] == [None] * 17
    assert math.isnan(metrics.compute()["part_authors_ap_vol"])


def test_absent_classes_count_zero_for_authors():
    flat = measured(prediction(), truth(), VIP).compute()
    assert flat["part_authors_ap_50"] == pytest.approx(100 / 19)
    assert flat["part_ap_50"] == pytest.approx(50)


def test_dense_parsers_have_no_instance_metrics():
    metrics = measured({"parts": prediction()["parts"]}, {"parts": truth()["parts"]}, instances=False)
    assert set(metrics.compute()) == {"miou", "pixel_accuracy", "fg_accuracy"} | {f"iou_{n}" for n in TINY.names}
    assert set(metrics.report()) == {"miou", "iou_per_class"}
    metrics.reset()


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_nothing_seen():
    metrics = VIPMetrics(TINY)
    report = json.loads(json.dumps(metrics.report(), allow_nan=False))
    assert report["miou"] is None
    assert report["human"]["one_to_one"]["ap"] is None
    assert report["part"]["authors"]["ap_vol"] == 0  # no objects, no detections


def test_reset_and_repeats():
    metrics = measured(truth() | {"persons": instances([[0] * 8], [], [])}, truth(), instances=False)
    metrics.reset()
    for _ in range(2):
        metrics.update([3], [prediction()], [truth()])
    metrics.update([3, 3], [prediction()] * 2, [truth()] * 2)
    assert metrics.compute() == measured(prediction(), truth(), instances=False).compute()


@pytest.mark.parametrize("field", ["persons", "part_instances"])
def test_missing_fields_are_named(field):
    pred, target = prediction(), truth()
    del target[field]
    with pytest.raises(ValueError, match=f"image 0: the annotation has no '{field}'"):
        measured(pred, target)
    del pred[field]
    with pytest.raises(ValueError, match=f"image 0: the parsing has no '{field}'"):
        measured(pred, target)


def test_checkpoints_do_not_hold_it():
    assert measured(prediction(), truth()).state_dict() == {}
