import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.errors import InputError
from partwise.metrics.instance import InstanceAP

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)


def objects(ids, classes, scores=None):
    """An InstanceMap from nested lists."""
    result = {"map": torch.as_tensor(ids), "classes": torch.as_tensor(classes, dtype=torch.int64)}
    return result if scores is None else {**result, "scores": torch.as_tensor(scores, dtype=torch.float32)}


def values(pairs, classes, thresholds=THRESHOLDS):
    metric = InstanceAP(classes, thresholds)
    for i, (pred, truth) in enumerate(pairs):
        metric.update([i], [pred], [truth])
    return metric.compute()


def random_pair(rng, classes=4, most=6):
    """Blocky maps, the prediction a shifted and relabelled truth; ids without pixels and score ties occur."""
    size = rng.integers(3, 9, 2)
    n, m = rng.integers(0, most + 1, 2)
    truth = np.kron(rng.integers(0, m + 1, size), np.ones((2, 3), dtype=np.int64))
    pred = np.roll(truth, rng.integers(0, 2, 2), (0, 1)) if n and m else np.zeros_like(truth)
    pred = np.where(rng.random(pred.shape) < 0.2, rng.integers(0, n + 1, pred.shape), np.minimum(pred, n))
    true_classes = rng.integers(1, classes + 1, m)
    pred_classes = rng.integers(1, classes + 1, n)
    same = min(n, m)
    pred_classes[:same] = np.where(rng.random(same) < 0.7, true_classes[:same], pred_classes[:same])
    return objects(pred, pred_classes, rng.integers(0, 6, n) / 8), objects(truth, true_classes)


def area(hits, total):
    """All-point VOC AP from explicit recall and precision points."""
    points = [(sum(hits[: k + 1]) / total, sum(hits[: k + 1]) / (k + 1)) for k in range(len(hits))]
    result, last = 0.0, 0.0
    for k, (recall, _) in enumerate(points):
        if recall > last:
            result += (recall - last) * max(p for _, p in points[k:])
            last = recall
    return 100 * result


def reference(pairs, classes, threshold, one_to_one):
    """Boolean masks and loops; the detections of all images in one queue."""
    aps = []
    for c in classes:
        queue, masks = [], {}
        for i, (pred, truth) in enumerate(pairs):
            ids = [n for n, k in enumerate(truth["classes"].tolist(), 1) if k == c]
            masks[i] = [m for m in ((truth["map"] == n).numpy() for n in ids) if m.any()]
            for row, (k, score) in enumerate(zip(pred["classes"].tolist(), pred["scores"].tolist(), strict=True)):
                if k == c:
                    queue.append((-score, i, row))
        total = sum(len(m) for m in masks.values())
        if total == 0:
            if not one_to_one:
                aps.append(math.nan if queue else 0.0)
            continue
        hits, taken = [], set()
        for _, i, row in sorted(queue):
            mask = (pairs[i][0]["map"] == row + 1).numpy()
            best, which = 0.0, None
            for k, other in enumerate(masks[i]):
                if not (one_to_one and (i, k) in taken):
                    value = (mask & other).sum() / (mask | other).sum()
                    if value > best:
                        best, which = value, (i, k)
            hits.append(int(best > threshold))
            if hits[-1]:
                taken.add(which)
        aps.append(area(hits, total))
    return sum(aps) / len(aps) if aps else math.nan


def assert_equals_reference(pairs, classes, thresholds=THRESHOLDS):
    result = values(pairs, classes, thresholds)
    for matching in ("authors", "one_to_one"):
        expected = [reference(pairs, classes, t, matching == "one_to_one") for t in thresholds]
        np.testing.assert_allclose(result[matching]["ap"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_equals_mask_loops(seed):
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng, classes=1 + seed % 5) for _ in range(5)]
    assert_equals_reference(pairs, range(1, 2 + seed % 5))


@pytest.mark.parametrize("seed", range(10))
def test_equals_mask_loops_for_some_classes(seed):
    rng = np.random.default_rng(seed)
    assert_equals_reference([random_pair(rng) for _ in range(5)], [3, 1], (0.0, 0.25, 0.95))


NONE = objects([[0, 0, 0, 0]], [], [])
NOBODY = objects([[0, 0, 0, 0]], [])
PERSON = objects([[1, 1, 1, 1]], [1])
FOUND = objects([[1, 1, 1, 1]], [1], [0.5])


@pytest.mark.parametrize(
    ("pairs", "authors", "one_to_one"),
    [
        ([(FOUND, PERSON)], 100, 100),
        ([(NONE, PERSON)], 0, 0),
        ([(NONE, NOBODY)], 0, math.nan),  # nothing to find, nothing found
        ([(FOUND, NOBODY)], math.nan, math.nan),
        ([], 0, math.nan),
        ([(FOUND, PERSON), (NONE, PERSON)], 50, 50),
        ([(objects([[1, 1, 1, 1]], [1], [0.9]), NOBODY), (FOUND, PERSON)], 50, 50),  # keeps its score
        ([(objects([[1, 1, 1, 1]], [1], [0.1]), NOBODY), (FOUND, PERSON)], 100, 100),
        ([(FOUND, NOBODY), (FOUND, PERSON)], 50, 50),  # a tie: the first image goes first
        ([(FOUND, PERSON), (FOUND, NOBODY)], 100, 100),
        ([(objects([[2, 2, 2, 2]], [1, 1], [0.9, 0.5]), PERSON)], 50, 50),  # row 1 has no pixels: false
        ([(objects([[1, 1, 1, 1]], [1, 1], [0.5, 0.5]), PERSON)], 100, 100),  # a tie: row 1 goes first
        ([(FOUND, objects([[2, 2, 2, 2]], [1, 1]))], 100, 100),  # object 1 has no pixels: no object
        ([(FOUND, objects([[1, 1, 1, 1]], [7]))], math.nan, math.nan),  # an object of another class
        ([(objects([[1, 1, 0, 0]], [1], [0.5]), PERSON)], 0, 0),  # IoU 0.5 does not exceed 0.5
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_closed_forms_at_half(pairs, authors, one_to_one):
    result = values(pairs, [1], [0.5])
    assert result["authors"]["ap"] == pytest.approx([authors], nan_ok=True)
    assert result["one_to_one"]["ap"] == pytest.approx([one_to_one], nan_ok=True)


def test_authors_count_duplicates():
    truth = objects([[1] * 10], [1])
    pred = objects([[1] * 6 + [2] * 4], [1, 1], [0.5, 0.9])
    result = values([(pred, truth)], [1], [0.3, 0.5])
    assert result["authors"]["ap"] == [200, 50]  # recall 2: not clipped
    assert result["one_to_one"]["ap"] == [100, 50]


def test_one_to_one_falls_back_on_a_free_object():
    truth = objects([[1] * 6 + [2] * 3], [1, 1])
    pred = objects([[1] * 3 + [2] * 5 + [0]], [1, 1], [0.9, 0.8])
    # Detection 2 has IoU 3/8 with object 1, which detection 1 (3/6) has taken, and 2/6 with object 2.
    result = values([(pred, truth)], [1], [0.3, 0.35, 0.4])
    assert result["one_to_one"]["ap"] == [100, 50, 50]
    assert result["authors"]["ap"] == [100, 100, 50]


def test_a_class_without_objects():
    truth, pred = objects([[1, 1, 0, 0]], [1]), objects([[1, 1, 0, 2]], [1, 2], [0.9, 0.8])
    result = values([(pred, truth)], [1, 2, 3], [0.5])
    assert math.isnan(result["authors"]["ap"][0])
    assert result["one_to_one"]["ap"] == [100]
    result = values([(pred, truth)], [1, 3], [0.5])
    assert result["authors"]["ap"] == [50]
    assert result["one_to_one"]["ap"] == [100]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_thresholds_are_exact(tenths):
    truth, pred = objects([[1] * 10], [1]), objects([[1] * tenths + [0] * (10 - tenths)], [1], [0.5])
    assert values([(pred, truth)], [1], [round(tenths / 10, 2)])["authors"]["ap"] == [0]
    assert values([(pred, truth)], [1], [round(tenths / 10 - 0.05, 2)])["authors"]["ap"] == [100]


@pytest.mark.parametrize("seed", range(8))
def test_many_ties_stay_in_file_order(seed):
    truth = objects([[1] * 80], [1])
    scores = np.random.default_rng(seed).integers(0, 3, 40) / 4
    pred = objects(np.arange(2, 82)[None] // 2, [1] * 40, scores)
    result = values([(pred, truth)], [1], [0.0])
    assert result["one_to_one"]["ap"] == [100]  # the detection that takes the object is also ranked first
    assert result["authors"]["ap"] == [4000]


def test_repeats_count_once_even_if_they_differ():
    rng = np.random.default_rng(0)
    pairs = [random_pair(rng) for _ in range(3)]
    metric = InstanceAP(range(1, 5), THRESHOLDS)
    metric.update([0, 1, 2], *zip(*pairs, strict=True))
    metric.update([1, 1], *zip(*[random_pair(rng) for _ in range(2)], strict=True))
    assert str(metric.compute()) == str(values(pairs, range(1, 5)))


def test_reset_forward_and_clone():
    rng = np.random.default_rng(1)
    first, second = random_pair(rng), random_pair(rng)
    metric = InstanceAP(range(1, 5), THRESHOLDS)
    metric.update([0], *[[x] for x in first])
    metric.reset()
    metric.update([0], *[[x] for x in second])
    assert str(metric.compute()) == str(values([second], range(1, 5)))
    assert str(metric([1], *[[x] for x in first])) == str(values([first], range(1, 5)))
    assert str(metric.clone().compute()) == str(values([second, first], range(1, 5)))


def test_scores_keep_their_order_in_any_type():
    truth = objects([[1, 1, 0, 0]], [1])
    pred = objects([[1, 1, 2, 2]], [1, 1])
    pred["scores"] = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    assert values([(pred, truth)], [1], [0.5])["one_to_one"]["ap"] == [50]


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (objects([[1, 1]], [1], [0.5]), NOBODY, r"image 0: the predicted map is \(1, 2\)"),
        (objects([[1, 2, 0, 0]], [1], [0.5]), NOBODY, "label 2 in the predicted map is out of range 0..1"),
        (FOUND, objects([[0, 0, 3, 0]], [1, 1]), "label 3 in the true map is out of range 0..2"),
        (FOUND, objects([[0, 0, -1, 0]], [1, 1]), "label -1 in the true map"),
        (objects([[1, 1, 1, 1]], [1]), PERSON, "no scores"),
        (objects([[1, 1, 1, 1]], [1], [0.5, 0.4]), PERSON, "1 predicted objects have 2 scores"),
        (objects([[1, 1, 1, 1]], [1], [math.nan]), PERSON, "NaN"),
    ],
)
def test_faults_are_named(pred, truth, message):
    with pytest.raises(ValueError, match=message):
        values([(pred, truth)], [1])


def test_a_map_without_pixels_has_no_objects():
    empty = objects(np.empty((0, 4), np.int64), [1], [0.5])
    scores = values([(empty, empty)], [1], [0.5])
    assert math.isnan(scores["one_to_one"]["ap"][0])


@pytest.mark.parametrize("side", [0, 1])
def test_people_who_may_overlap_are_refused(side):
    pair = [FOUND, PERSON]
    pair[side] = {"masks": torch.ones(1, 1, 4, dtype=torch.bool), "classes": torch.ones(1), "scores": torch.ones(1)}
    with pytest.raises(InputError, match=r"^image 0: AP\^r is defined for disjoint persons .*COCOMetrics$"):
        values([tuple(pair)], [1])


@pytest.mark.parametrize(("classes", "thresholds"), [([], [0.5]), ([1, 1], [0.5]), ([1], []), ([1], [1.0])])
def test_impossible_arguments(classes, thresholds):
    with pytest.raises(ValueError, match="at least one"):
        InstanceAP(classes, thresholds)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(4)), st.integers(0, 4))
def test_order_and_batches_do_not_matter(seed, order, cut):
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng) for _ in range(4)]
    metric = InstanceAP(range(1, 5), THRESHOLDS)
    for part in (order[:cut], order[cut:]):
        metric.update(part, [pairs[i][0] for i in part], [pairs[i][1] for i in part])
    assert str(metric.compute()) == str(values(pairs, range(1, 5)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_perfect_prediction_and_bounds(seed):
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng) for _ in range(3)]
    classes = sorted({c for _, t in pairs for i, c in enumerate(t["classes"].tolist(), 1) if (t["map"] == i).any()})
    if not classes:
        return
    result = values(pairs, classes)
    authors, one_to_one = (np.array(result[m]["ap_per_class"]) for m in ("authors", "one_to_one"))
    assert (authors >= one_to_one).all()
    assert (one_to_one >= 0).all()
    assert (one_to_one <= 100).all()

    perfect = []
    for _, truth in pairs:
        ids, dense = truth["map"].unique(return_inverse=True)
        ids = ids[ids > 0]
        dense = dense if (truth["map"] == 0).any() else dense + 1
        perfect.append(({"map": dense, "classes": truth["classes"][ids - 1], "scores": torch.rand(len(ids))}, truth))
    result = values(perfect, classes)
    assert result["authors"]["ap"] == result["one_to_one"]["ap"] == [100.0] * len(THRESHOLDS)
