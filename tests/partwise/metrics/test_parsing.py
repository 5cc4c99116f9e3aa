import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.metrics.parsing import (
    IndexedConfusion,
    confusion_matrix,
    fg_accuracy,
    iou,
    parsing_scores,
    pixel_accuracy,
)

KEYS = {"miou", "pixel_accuracy", "fg_accuracy", "iou_per_class"}


def images(seed, count=4, num_classes=5, present=None):
    """Maps of different sizes, a tenth of the truth ignored."""
    rng = np.random.default_rng(seed)
    present = num_classes if present is None else present
    result = []
    for _ in range(count):
        size = tuple(rng.integers(1, 9, 2))
        target = rng.integers(0, present, size)
        preds = np.where(rng.random(size) < 0.5, target, rng.integers(0, present, size))
        target[rng.random(size) < 0.1] = 255
        result.append((torch.from_numpy(preds), torch.from_numpy(target)))
    return result


def reference(pairs, num_classes):
    """Sets of pixels, one class at a time."""
    shared, either = [0] * num_classes, [0] * num_classes
    right = total = fg_right = fg_total = 0
    for preds, target in pairs:
        for p, t in zip(preds.flatten().tolist(), target.flatten().tolist(), strict=True):
            if t == 255:
                continue
            total, right = total + 1, right + (p == t)
            fg_total, fg_right = fg_total + (t > 0), fg_right + (p == t > 0)
            for c in range(num_classes):
                shared[c] += p == c and t == c
                either[c] += p == c or t == c
    ious = [100 * s / e if e else math.nan for s, e in zip(shared, either, strict=True)]
    defined = [v for v in ious if not math.isnan(v)]
    return {
        "miou": sum(defined) / len(defined) if defined else math.nan,
        "pixel_accuracy": 100 * right / total if total else math.nan,
        "fg_accuracy": 100 * fg_right / fg_total if fg_total else math.nan,
        "iou_per_class": ious,
    }


def assert_equal(values, expected):
    assert set(values) == KEYS
    for key in KEYS:
        np.testing.assert_allclose(values[key].numpy(), expected[key], rtol=0, atol=1e-9)


def measured(*pairs, num_classes):
    metric = IndexedConfusion(num_classes)
    for i, (preds, target) in enumerate(pairs):
        metric.update([i], [torch.as_tensor(preds)], [torch.as_tensor(target)])
    return parsing_scores(metric.compute())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("present", [1, 3, 5])
def test_equals_pixel_loops(seed, present):
    pairs = images(seed, present=present)
    assert_equal(measured(*pairs, num_classes=5), reference(pairs, 5))


def test_closed_form():
    confusion = confusion_matrix(torch.tensor([0, 0, 1, 1, 7]), torch.tensor([0, 1, 1, 2, 255]), 4)
    assert confusion.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou(confusion), [50, 100 / 3, 0, math.nan])
    assert pixel_accuracy(confusion) == 50
    assert fg_accuracy(confusion).item() == pytest.approx(100 / 3)


def test_class_seen_only_in_predictions_counts_zero():
    values = measured(([0, 0, 0, 2], [0, 0, 0, 0]), num_classes=3)
    assert values["miou"] == pytest.approx(75 / 2)
    assert values["fg_accuracy"].isnan()


def test_images_weigh_by_their_pixels():
    values = measured(([[1]], [[1]]), ([[0] * 3] * 3, [[1] * 3] * 3), num_classes=2)
    assert values["pixel_accuracy"] == pytest.approx(10)


@pytest.mark.parametrize("pairs", [[], [([0, 0], [255, 255])]], ids=["nothing seen", "all ignored"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_nothing_to_score_is_undefined(pairs):
    assert all(value.isnan().all() for value in measured(*pairs, num_classes=3).values())


def test_repeated_images_count_once():
    pairs = images(3)
    metric = IndexedConfusion(5)
    preds, target = zip(*pairs, strict=True)
    metric.update([4, 2, 9, 0], preds, target)
    metric.update([9], preds[:1], target[:1])  # an index already taken
    assert_equal(parsing_scores(metric.compute()), reference(pairs, 5))


def test_reset_and_forward():
    first, second = (([i], [preds], [target]) for i, (preds, target) in enumerate(images(1, 2)))
    pairs, metric = images(1, 2), IndexedConfusion(5)
    metric.update(*first)
    metric.reset()
    metric.update(*second)
    assert_equal(parsing_scores(metric.compute()), reference(pairs[1:], 5))
    assert_equal(parsing_scores(metric(*first)), reference(pairs[:1], 5))
    assert_equal(parsing_scores(metric.compute()), reference(pairs, 5))


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        ([0, 5], [0, 0], "label 5 in preds is out of range 0..2"),
        ([0, 255], [0, 0], "label 255 in preds"),
        ([0, -1], [0, 0], "label -1 in preds"),
        ([0, 0], [0, 3], "label 3 in target is out of range 0..2"),
        ([0, 0], [0, 254], "label 254 in target"),
        ([0, 0], [0, 1000], "label 1000 in target"),
        ([0, 0, 0], [0, 0], "differ in shape"),
        ([0.5, 0], [0, 0], "preds must hold integer labels"),
    ],
)
def test_bad_labels_are_named(preds, target, message):
    with pytest.raises(ValueError, match=f"image 12: .*{message}"):
        IndexedConfusion(3).update([12], [torch.tensor(preds)], [torch.tensor(target)])


@pytest.mark.parametrize("num_classes", [1, 256])
def test_impossible_class_counts(num_classes):
    with pytest.raises(ValueError, match="num_classes"):
        IndexedConfusion(num_classes)


def test_an_empty_map_counts_nothing():
    empty = torch.empty(0, 4, dtype=torch.int64)
    assert confusion_matrix(empty, empty, 3).tolist() == [[0] * 3] * 3


def test_small_integer_types():
    preds, target = torch.tensor([1, 2, 0], dtype=torch.uint8), torch.tensor([1, 2, 255], dtype=torch.uint8)
    assert confusion_matrix(preds, target, 3).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.permutations(range(4)))
def test_properties(seed, present, order):
    pairs = images(seed, present=present)
    shuffled = IndexedConfusion(5)
    for i in order:
        shuffled.update([i], *([x] for x in pairs[i]))
    assert_equal(parsing_scores(shuffled.compute()), reference(pairs, 5))
    perfect = measured(*((torch.where(target == 255, 0, target), target) for _, target in pairs), num_classes=5)
    assert all(((v == 100) | torch.isnan(v)).all() for v in perfect.values())
