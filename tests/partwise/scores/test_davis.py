"""J, F and their summaries against definitions written out pixel by pixel."""

import math
from functools import cache
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from partwise.scores.davis import (
    boundary,
    boundary_accuracy,
    decay,
    dilated,
    frame_scores,
    in_order,
    mean_scores,
    recall,
    region_similarity,
    scored,
    sequence_scores,
    tolerance,
)


def plain_boundary(mask):
    """Pixels that differ from their east, south or south-east neighbour, as a set."""
    return _plain_boundary(mask.tobytes(), *mask.shape)


@cache
def _plain_boundary(content, height, width):
    mask = np.frombuffer(content, np.uint8).reshape(height, width)
    return {
        (y, x)
        for y in range(height)
        for x in range(width)
        for b, a in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
        if b < height and a < width and mask[y, x] != mask[b, a]
    }


def plain_share(of, near, radius):
    hits = [any((y - b) ** 2 + (x - a) ** 2 <= radius**2 for b, a in near) for y, x in of]
    return sum(hits) / len(hits)


def plain_f(pred, truth, radius):
    called, true = plain_boundary(pred), plain_boundary(truth)
    if called and true:
        precision, hits = plain_share(called, true, radius), plain_share(true, called, radius)
    else:
        precision, hits = float(not called), float(not true)
        if not called and not true:
            precision = hits = 1.0
        elif called:
            precision, hits = 0.0, 1.0
        else:
            precision, hits = 1.0, 0.0
    return 2 * precision * hits / (precision + hits) if precision + hits else 0.0


def plain_j(pred, truth):
    pairs = list(zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True))
    union = sum(p or t for p, t in pairs)
    return sum(p and t for p, t in pairs) / union if union else 1.0


def plain_dilated(mask, radius):
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        for b in range(max(y - radius, 0), min(y + radius + 1, height)):
            for a in range(max(x - radius, 0), min(x + radius + 1, width)):
                out[b, a] |= (b - y) ** 2 + (a - x) ** 2 <= radius**2
    return out


def drawn(size=(40, 60), **boxes):
    """A mask with rectangles given as name=(top, left, bottom, right)."""
    mask = np.zeros(size, np.uint8)
    for top, left, bottom, right in boxes.values():
        mask[top:bottom, left:right] = 1
    return mask


def noisy(seed, size=(40, 60), share=0.02):
    return (np.random.default_rng(seed).random(size) < share).astype(np.uint8)


EMPTY, FULL = drawn(), np.ones((40, 60), np.uint8)
MASKS = {
    "empty": EMPTY,
    "full": FULL,
    "box": drawn(a=(10, 20, 25, 40)),
    "shifted": drawn(a=(13, 18, 28, 38)),
    "top-left": drawn(a=(0, 0, 12, 15)),
    "bottom-right": drawn(a=(30, 45, 40, 60)),
    "left edge": drawn(a=(5, 0, 35, 1)),
    "last row": drawn(a=(39, 0, 40, 60)),
    "last column": drawn(a=(0, 59, 40, 60)),
    "first pixel": drawn(a=(0, 0, 1, 1)),
    "last pixel": drawn(a=(39, 59, 40, 60)),
    "pixel": drawn(a=(20, 30, 21, 31)),
    "line": drawn(a=(20, 3, 21, 57)),
    "diagonal": np.eye(40, 60, dtype=np.uint8),
    "chequered": (np.indices((40, 60)).sum(0) % 2).astype(np.uint8),
    "ring": drawn(a=(5, 5, 35, 55)) ^ drawn(a=(8, 8, 32, 52)),
    "hole": FULL ^ drawn(a=(20, 30, 21, 31)),
    "far apart": drawn(a=(0, 0, 2, 2), b=(37, 57, 39, 59)),
    "specks": noisy(0),
    "half": noisy(1, share=0.5),
}


@pytest.mark.parametrize("name", MASKS)
def test_boundary_is_where_an_eastern_or_southern_neighbour_differs(name):
    assert set(map(tuple, np.argwhere(boundary(MASKS[name])).tolist())) == plain_boundary(MASKS[name])


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 13, 18, 45])
@pytest.mark.parametrize("name", ["empty", "box", "last row", "first pixel", "last pixel", "diagonal", "specks"])
def test_dilation_is_by_a_disk(name, radius):
    mask = MASKS[name]
    np.testing.assert_array_equal(dilated(mask, radius), plain_dilated(mask, radius))


@settings(max_examples=150, deadline=None)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1)), st.integers(0, 9)
)
def test_dilation_and_boundary_of_any_mask(mask, radius):
    np.testing.assert_array_equal(dilated(mask, radius), plain_dilated(mask, radius))
    assert set(map(tuple, np.argwhere(boundary(mask)).tolist())) == plain_boundary(mask)


def test_dilation_by_a_disk_at_the_size_of_a_frame():
    edge = boundary(noisy(2, (480, 854), 0.001))
    y, x = np.mgrid[-8:9, -8:9]
    expected = ndimage.binary_dilation(edge, x * x + y * y <= 64)
    np.testing.assert_array_equal(dilated(edge, tolerance(edge.shape)), expected)


@pytest.mark.parametrize("truth", MASKS)
def test_frame_scores_are_those_of_whole_pictures(truth):
    for name, pred in MASKS.items():
        j, f = frame_scores(pred, MASKS[truth])
        assert j == pytest.approx(plain_j(pred, MASKS[truth]), abs=1e-12), name
        assert f == pytest.approx(plain_f(pred, MASKS[truth], 1), abs=1e-12), name


@pytest.mark.parametrize("radius", [0, 2, 4, 9])
@pytest.mark.parametrize(
    ("pred", "truth"), [("box", "shifted"), ("specks", "ring"), ("pixel", "line"), ("half", "box")]
)
def test_boundary_accuracy_at_several_radii(pred, truth, radius):
    expected = plain_f(MASKS[pred], MASKS[truth], radius)
    assert boundary_accuracy(MASKS[pred], MASKS[truth], radius) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_frame_scores_of_any_masks(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=10))
    pred, truth = (data.draw(arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.just(0))) for _ in "pt")
    expected = plain_j(pred, truth), plain_f(pred, truth, 1)
    assert frame_scores(pred, truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pred", "truth", "expected"),
    [
        (EMPTY, EMPTY, (1, 1)),
        (EMPTY, MASKS["box"], (0, 0)),
        (MASKS["box"], EMPTY, (0, 0)),
        (FULL, FULL, (1, 1)),
        (FULL, EMPTY, (0, 1)),  # neither has a boundary
        (MASKS["box"], MASKS["box"], (1, 1)),
        (MASKS["first pixel"], MASKS["last pixel"], (0, 0)),
    ],
)
def test_empty_masks(pred, truth, expected):
    assert frame_scores(pred, truth) == expected


def test_void_pixels_count_for_neither():
    void = np.zeros_like(EMPTY, bool)
    void[:, 30:] = True
    pred, truth = MASKS["box"], MASKS["shifted"]
    left = (np.arange(60) < 30).astype(np.uint8)
    assert frame_scores(pred, truth, void) == frame_scores(pred * left, truth * left)
    assert frame_scores(pred, truth, void) != frame_scores(pred, truth)
    assert frame_scores(FULL, EMPTY, np.ones_like(void)) == (1, 1)


def test_masks_stay_as_they_are():
    pred, truth = MASKS["box"].copy(), MASKS["shifted"].copy()
    frame_scores(pred, truth, truth == 1)
    np.testing.assert_array_equal(pred, MASKS["box"])
    np.testing.assert_array_equal(truth, MASKS["shifted"])


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        frame_scores(EMPTY, EMPTY[1:])


@pytest.mark.parametrize(
    ("size", "radius"), [((480, 854), 8), ((1080, 1920), 18), ((600, 800), 8), ((2160, 3840), 36), ((1, 1), 1)]
)
def test_tolerance(size, radius):
    assert tolerance(size) == radius == math.ceil(0.008 * np.linalg.norm(size))


def plain_decay(values):
    """Quarters whose ends are shared, by the definition with numbers from 1."""
    n = len(values)
    ends = [math.floor(1 + (n - 1) * i / 4 + 0.5) for i in range(5)]
    return fmean(values[ends[0] - 1 : ends[1]]) - fmean(values[ends[3] - 1 : ends[4]])


@pytest.mark.parametrize("n", [*range(1, 30), 68, 102, 255, 256, 257, 1000])
def test_decay_compares_the_last_quarter_to_the_first(n):
    values = np.random.default_rng(n).random(n)
    assert decay(values) == pytest.approx(plain_decay(values.tolist()), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.3], 0),
        ([0.9, 0.1], 0.9 - 0.1),
        ([0.9, 0.5, 0.1], 0.7 - 0.1),  # halves go up: frames 1-2 against frame 3
        ([0.8, 0.6, 0.4, 0.2], 0.7 - 0.3),  # frames 1-2 against 3-4
        ([0.5, 0.4, 0.3, 0.2, 0.1], 0.45 - 0.15),
    ],
)
def test_decay_of_short_sequences(values, expected):
    assert decay(np.array(values)) == pytest.approx(expected, abs=1e-12)


def test_recall_is_above_one_half():
    assert recall(np.array([0.5, 0.500001, 0.499, 1.0])) == 0.5


def test_metrics_of_a_sequence_and_their_mean():
    one = sequence_scores(np.array([[0.9, 0.2], [0.7, 0.6], [0.2, 0.7]]))
    assert one["J_mean"] == pytest.approx(0.6)
    assert one["J_recall"] == one["F_recall"] == pytest.approx(2 / 3)
    assert list(one) == ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay"]
    undefined = sequence_scores(np.empty((0, 2)))
    assert all(map(math.isnan, undefined.values()))
    both = mean_scores([one, undefined, sequence_scores(np.array([[0.1, 0.4]]))])
    assert both["J_mean"] == pytest.approx(0.35)
    assert list(both) == list(one)
    assert all(map(math.isnan, mean_scores([]).values()))
    assert list(mean_scores([])) == list(one)


def test_regions():
    assert region_similarity(MASKS["box"], MASKS["shifted"]) == pytest.approx(plain_j(MASKS["box"], MASKS["shifted"]))
    assert region_similarity(EMPTY, EMPTY) == 1


def test_order_and_ends_of_frames():
    assert in_order(["00010", "00002", "00002"]) == ["00002", "00010"]
    assert in_order(["10", "9", "100"]) == ["9", "10", "100"]
    assert scored({"a": ["0", "1", "2"], "b": ["0", "1"], "c": []}) == {"a": ["1"], "b": [], "c": []}
