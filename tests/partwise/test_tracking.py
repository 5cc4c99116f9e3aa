import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from partwise.media import read_image
from partwise.tracking import KCF, PersonLinker, hog, track


def people(*boxes, size=(60, 200)):
    """A map of rectangles (left, top, right, bottom); None is a person without pixels."""
    persons = np.zeros(size, dtype=np.int64)
    for n, box in enumerate(boxes, 1):
        if box is not None:
            persons[box[1] : box[3], box[0] : box[2]] = n
    return persons, len(boxes)


def at(x, width=20):
    return (x, 10, x + width, 50)


def test_ids_follow_people_not_rows():
    linker = PersonLinker()
    assert linker.link(*people(at(10), at(100))) == [1, 2]
    assert linker.link(*people(at(103), at(13))) == [2, 1]
    assert linker.link(*people(at(150), at(106), at(16))) == [3, 2, 1]


def test_the_best_pairing_over_all_wins():
    linker = PersonLinker()
    linker.link(*people(at(50), at(66)))
    # The first new person overlaps both; taking the nearest one greedily would cost the second its id.
    assert linker.link(*people(at(58), at(74))) == [1, 2]


def test_masks_tell_people_in_one_box_apart():
    upper = np.triu(np.ones((40, 40), dtype=bool))
    first = np.where(upper, 1, 2)
    linker = PersonLinker()
    assert linker.link(first, 2) == [1, 2]
    assert linker.link(3 - first, 2) == [2, 1]


def test_a_person_hidden_for_a_while_comes_back():
    linker = PersonLinker(memory=3)
    linker.link(*people(at(10), at(100)))
    for _ in range(3):
        assert linker.link(*people(at(100))) == [2]
    assert linker.link(*people(at(12), at(100))) == [1, 2]


def test_ids_of_people_long_gone_are_not_given_away():
    linker = PersonLinker(memory=3)
    linker.link(*people(at(10), at(100)))
    for _ in range(4):
        linker.link(*people(at(100)))
    assert linker.link(*people(at(12), at(100))) == [3, 2]


def test_one_who_left_does_not_take_over_one_who_stayed():
    linker = PersonLinker()
    linker.link(*people(at(40, 40), at(130, 40)))
    for x in (110, 90, 70):
        assert linker.link(*people(at(x, 40))) == [2]
    # Person 2 now stands nearer to where person 1 was lost than to its own last place.
    assert linker.link(*people(at(50, 40))) == [2]


def test_strangers_elsewhere_are_new():
    linker = PersonLinker()
    linker.link(*people(at(10)))
    assert linker.link(*people(at(120))) == [2]


def test_people_without_pixels_have_no_id():
    linker = PersonLinker()
    assert linker.link(*people(at(10), None, at(100))) == [1, 0, 2]
    assert linker.link(*people(None)) == [0]
    assert linker.link(*people()) == []
    assert linker.link(*people(at(10), at(100))) == [1, 2]


@given(st.lists(hnp.arrays(np.uint8, (8, 8), elements=st.integers(0, 4)), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_ids_are_distinct_and_memory_is_bounded(frames, memory):
    linker, last_seen = PersonLinker(memory=memory), {}
    for now, persons in enumerate(frames):
        ids = linker.link(persons, 4)
        assert [i > 0 for i in ids] == [(persons == n).any() for n in range(1, 5)]
        real = [i for i in ids if i]
        assert len(set(real)) == len(real)
        for i in real:
            assert i in last_seen or i > max(last_seen, default=0)
            assert now - last_seen.get(i, now) <= memory + 1
            last_seen[i] = now
        assert len(linker._tracks) <= 4 * (memory + 1)


def test_hog_is_felzenszwalbs_by_plain_loops():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    x, rows, columns = image / 255, 5, 6
    beside = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    counts = np.zeros((rows + 2, columns + 2, 18))
    for i in range(20):
        for j in range(24):
            across, down = beside[i + 1, j + 2] - beside[i + 1, j], beside[i + 2, j + 1] - beside[i, j + 1]
            steps = list(zip(across, down, strict=True))
            dx, dy = max(steps, key=lambda s: s[0] ** 2 + s[1] ** 2)
            turn = round(math.atan2(dy, dx) * 9 / math.pi) % 18
            u, v = (i + 0.5) / 4 + 0.5, (j + 0.5) / 4 + 0.5
            for a in (math.floor(u), math.floor(u) + 1):
                for b in (math.floor(v), math.floor(v) + 1):
                    counts[a, b, turn] += math.hypot(dx, dy) * (1 - abs(u - a)) * (1 - abs(v - b))
    counts = counts[1:-1, 1:-1]
    plain = counts[..., :9] + counts[..., 9:]
    energy = np.pad((plain**2).sum(2), 1, mode="edge")
    expected = np.zeros((rows, columns, 31))
    for i in range(rows):
        for j in range(columns):
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                norm = math.sqrt(energy[i + a : i + a + 2, j + b : j + b + 2].sum() + 1e-4)
                expected[i, j, :18] += np.minimum(counts[i, j] / norm, 0.2) / 2
                expected[i, j, 18:27] += np.minimum(plain[i, j] / norm, 0.2) / 2
                expected[i, j, 27 + 2 * a + b] = 0.2357 * np.minimum(counts[i, j] / norm, 0.2).sum()
    np.testing.assert_allclose(hog(image), expected, atol=1e-4)


def scene(boxes, size=(200, 260)):
    """A textured square on a textured ground; the square fills each box in turn."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (20, 26, 3), dtype=np.uint8), size[::-1])
    target = cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64))
    for x1, y1, x2, y2 in boxes:
        frame, side = ground.copy(), (round(x2 - x1), round(y2 - y1))
        frame[round(y1) : round(y1) + side[1], round(x1) : round(x1) + side[0]] = cv2.resize(target, side)
        yield frame


def box_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_kcf_follows_a_target_that_moves():
    boxes = [(40 + 4 * t, 60 + 2 * t, 88 + 4 * t, 108 + 2 * t) for t in range(25)]
    found = list(track(scene(boxes), boxes[0]))
    assert min(box_iou(a, b) for a, b in zip(found, boxes, strict=True)) > 0.85


def test_kcf_follows_a_target_that_grows_only_with_scale_search():
    boxes = [(90 - t / 2, 70 - t / 2, 138 + t / 2, 118 + t / 2) for t in range(30)]
    fixed = list(track(scene(boxes), boxes[0]))
    searched = list(track(scene(boxes), boxes[0], (1 / 1.05, 1.0, 1.05)))
    assert box_iou(searched[-1], boxes[-1]) > 0.6
    assert box_iou(fixed[-1], boxes[-1]) < 0.45


def test_kcf_follows_a_rendered_person():
    renderer = Renderer(draw_scene(3, frames=12, severity=0.2))
    boxes = []
    for t in range(12):
        y, x = np.nonzero(renderer.frame(t).persons == 1)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    found = list(track((renderer.image(t) for t in range(12)), boxes[0]))
    assert np.mean([box_iou(a, b) for a, b in zip(found, boxes, strict=True)]) > 0.6


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match="empty"):
        KCF(np.zeros((40, 40, 3), np.uint8), (10, 10, 10, 20))


@pytest.mark.skipif("PARTWISE_REAL" not in os.environ, reason="real samples: PARTWISE_REAL is not set")
@pytest.mark.parametrize(("sequence", "least"), [("blackswan", 0.9), ("car-shadow", 0.75)])
def test_kcf_with_scale_search_on_real_sequences(sequence, least):
    root = Path(os.environ["PARTWISE_REAL"]) / "davis"
    masks = sorted((root / "Annotations/480p" / sequence).glob("*.png"))
    boxes = []
    for file in masks:
        y, x = np.nonzero(cv2.imread(str(file), 0))
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    files = sorted((root / "JPEGImages/480p" / sequence).glob("*.jpg"))
    found = list(track((read_image(file) for file in files), boxes[0], (1 / 1.05, 1.0, 1.05)))
    assert np.mean([box_iou(a, b) for a, b in zip(found, boxes, strict=True)]) > least
