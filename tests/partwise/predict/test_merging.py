"""Assignment of labelled pixels to persons, against closed forms and a loop over pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.batches import map_of
from partwise.models.instance_crf import potentials
from partwise.predict.merging import Person, assign, centre_distance, merge, merge_by_crf, soften, unary


def row(*ids):
    return torch.tensor([ids])


def mask(*inside):
    return torch.tensor([inside]) > 0


WHOLE = (0, 0, 6, 1)


def test_each_mask_takes_its_pixels_and_parts_of_nobody_stay():
    parsing = merge(
        row(1, 2, 0, 1, 255, 2),
        [Person(WHOLE, 0.5, mask(1, 1, 1, 0, 0, 0)), Person(WHOLE, 0.75, mask(0, 0, 0, 1, 1, 0))],
        num_classes=3,
    )
    assert parsing["parts"].tolist() == [[1, 2, 0, 1, 255, 2]]
    assert map_of(parsing["persons"]).tolist() == [[1, 1, 1, 2, 2, 0]]
    assert parsing["persons"]["scores"].tolist() == [0.5, 0.75]
    assert parsing["part_instances"]["map"].tolist() == [[1, 3, 0, 2, 0, 0]]
    assert parsing["part_instances"]["classes"].tolist() == [1, 1, 2]
    assert parsing["part_instances"]["scores"].tolist() == [0.5, 0.75, 0.5]


def test_the_higher_score_is_in_front_and_of_equals_the_earlier_one():
    both = mask(1, 1, 1, 1, 0, 0)
    parts = row(1, 1, 1, 1, 1, 1)
    people = [Person(WHOLE, 0.5, both), Person(WHOLE, 0.9, mask(0, 0, 1, 1, 1, 0)), Person(WHOLE, 0.5, both)]
    persons = assign(parts, people)
    assert persons["map"].tolist() == [[1, 1, 2, 2, 2, 0]]  # the third has no pixel left
    assert persons["scores"].tolist() == pytest.approx([0.5, 0.9])
    assert persons["classes"].tolist() == [1, 1]


def test_of_several_boxes_the_nearest_centre_in_units_of_the_box_counts():
    # Pixel 4 is 1.5 from either centre, which is less of the wide box.
    people = [Person((2, 0, 10, 1), 0.5), Person((2, 0, 4, 1), 0.4), Person((2, 0, 7, 1), 0.9)]
    assert assign(torch.ones(1, 12, dtype=torch.int64), people[:2])["map"].tolist() == [
        [0, 0, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0]
    ]
    assert assign(row(1, 0, 1, 1, 0, 1), people[1:2])["map"].tolist() == [[0, 0, 1, 1, 0, 0]]  # labelled pixels alone


def test_equally_near_boxes_go_to_the_higher_score():
    people = [Person((0, 0, 4, 1), 0.5), Person((0, 0, 4, 1), 0.6)]
    assert assign(row(1, 1, 1, 1), people)["scores"].tolist() == pytest.approx([0.6])


def test_masks_go_before_boxes():
    people = [Person((0, 0, 6, 1), 1.0), Person(WHOLE, 0.1, mask(1, 1, 0, 0, 0, 0))]
    assert assign(row(1, 1, 1, 255, 0, 1), people)["map"].tolist() == [[2, 2, 1, 0, 0, 1]]


def test_nobody_is_there():
    parsing = merge(row(1, 2, 0), [], num_classes=3)
    assert map_of(parsing["persons"]).tolist() == parsing["part_instances"]["map"].tolist() == [[0, 0, 0]]
    assert len(parsing["persons"]["scores"]) == len(parsing["part_instances"]["scores"]) == 0
    assert len(merge(row(0, 0), [Person((0, 0, 0, 0), 1.0), Person((0, 0, 2, 1), 1.0)], 3)["persons"]["classes"]) == 0


def test_a_box_of_pixels_holds_their_centres():
    distance = centre_distance((1, 0, 3, 2), torch.zeros(3, 4))
    assert torch.isfinite(distance).tolist() == [[False, True, True, False]] * 2 + [[False] * 4]
    assert distance[0, 1] == pytest.approx(np.hypot(0.25, 0.25))


def slow_assign(parts, people):
    """The owner of each pixel, one at a time."""
    ranked = sorted(enumerate(people, 1), key=lambda item: (-item[1].score, item[0]))
    owner = np.zeros(parts.shape, int)
    for y, x in np.ndindex(parts.shape):
        masked = [n for n, p in ranked if p.mask is not None and p.mask[y, x]]
        held = []
        for rank, (n, (box, _, own)) in enumerate(ranked):
            left, top, right, bottom = box
            if own is None and left <= x + 0.5 <= right and top <= y + 0.5 <= bottom and parts[y, x] not in (0, 255):
                across = (x + 0.5 - (left + right) / 2) / (right - left)
                down = (y + 0.5 - (top + bottom) / 2) / (bottom - top)
                held.append((round(float(np.hypot(across, down)), 6), rank, n))
        owner[y, x] = masked[0] if masked else min(held)[2] if held else 0
    return owner


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    parts = rng.choice([0, 1, 2, 255], (7, 9))
    people = []
    for _ in range(rng.integers(0, 5)):
        left, top = rng.integers(-1, 6, 2).tolist()
        width, height = rng.choice([1, 2, 4, 8], 2).tolist()  # exact fractions: equal distances stay equal
        own = torch.from_numpy(rng.random((7, 9)) < 0.3) if rng.random() < 0.5 else None
        people.append(Person((left, top, left + width, top + height), float(rng.choice([0.2, 0.5, 0.7])), own))
    owner = slow_assign(parts, people)
    persons = assign(torch.from_numpy(parts), people)
    seen = [n for n in range(1, len(people) + 1) if (owner == n).any()]
    expected = np.zeros_like(owner)
    for number, n in enumerate(seen, 1):
        expected[owner == n] = number
    assert persons["scores"].tolist() == pytest.approx([people[n - 1].score for n in seen])
    assert (persons["map"].numpy() == expected).all()


def test_soft_labels_sum_to_one():
    probs = soften(row(0, 2, 255), num_classes=4, confidence=0.7)
    assert torch.allclose(probs[:, 0, :2].T, torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]]))
    assert probs[:, 0, 2].tolist() == [0.25] * 4
    assert soften(row(0, 2, 255), 3, 1.0)[:, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_the_unary_is_that_of_the_paper():
    """Equations 2 and 3: ln of background, and of (s inside the mask or box + 1) times the part's probability."""
    probs = torch.tensor([[0.2, 0.5], [0.5, 0.1], [0.3, 0.4]])[:, None]  # background and two parts, two pixels
    people = [Person((0, 0, 2, 1), 0.5, mask(1, 0)), Person((1, 0, 2, 1), 0.25)]
    expected = [[0.2, 0.5], [0.5 * 1.5, 0.1], [0.3 * 1.5, 0.4], [0.5, 0.1 * 1.25], [0.3, 0.4 * 1.25]]
    assert torch.allclose(unary(probs, people).exp()[:, 0], torch.tensor(expected))


def test_the_unary_of_boxes_is_that_of_the_trained_crf():
    probs = torch.rand(4, 9, 11, generator=torch.manual_seed(0)).softmax(0)
    people = [Person((2, 1, 7, 6), 0.7), Person((-3, 4, 20, 9), 0.2)]
    boxes, scores = torch.tensor([[2, 1, 6, 5], [-3, 4, 19, 8]]), torch.tensor([0.7, 0.2])
    one = torch.tensor(1.0)
    assert unary(probs, people).equal(potentials.unary(probs, boxes, scores, one, one))


@pytest.fixture
def couple():
    """Two people side by side on two colours: parts, truth of persons, picture."""
    persons = np.zeros((16, 30), np.int64)
    persons[2:14, 3:12], persons[2:14, 12:22] = 1, 2
    parts = np.where(persons > 0, 1 + (np.arange(16)[:, None] >= 8), 0)
    colors = np.array([[40, 40, 40], [200, 60, 60], [60, 200, 60]], np.uint8)
    return torch.from_numpy(parts), torch.from_numpy(persons), colors[persons]


def masks(persons):
    return [Person((0, 0, 30, 16), 0.9, persons == n) for n in (1, 2)]


def test_the_crf_agrees_with_clear_labels(couple):
    parts, persons, image = couple
    parsing, plain = merge_by_crf(parts, masks(persons), image, 3), merge(parts, masks(persons), 3)
    assert parsing["parts"].equal(parts)
    assert map_of(parsing["persons"]).equal(persons)
    assert parsing["part_instances"]["map"].equal(plain["part_instances"]["map"])
    assert parsing["part_instances"]["classes"].tolist() == [1, 1, 2, 2]
    assert all(0.85 < score < 0.9 for score in parsing["part_instances"]["scores"].tolist())  # 0.9 times a marginal


def test_the_crf_corrects_labels_and_masks_by_the_picture(couple):
    parts, persons, image = couple
    torn, own = parts.clone(), persons.clone()
    torn[4, 6], torn[10, 15] = 2, 0
    own[:, 12] = torch.where(own[:, 12] == 2, 1, 0)  # the left mask reaches a pixel too far
    own[5, 5] = 0
    parsing = merge_by_crf(torn, masks(own), image, 3)
    assert parsing["parts"].equal(parts)
    assert map_of(parsing["persons"]).equal(persons)
    assert (map_of(merge(torn, masks(own), 3)["persons"]) != persons).sum() > 10


def test_the_crf_keeps_the_parts_where_nobody_is(couple):
    parts, _, image = couple
    parsing = merge_by_crf(parts, [], image, 3)
    assert parsing["parts"].equal(parts)
    assert not map_of(parsing["persons"]).any()


def test_the_crf_fills_ignored_pixels(couple):
    parts, persons, image = couple
    torn = parts.clone()
    torn[5:7, 5:7] = 255
    assert merge_by_crf(torn, masks(persons), image, 3)["parts"].equal(parts)
