"""The matched target against a search of all permutations."""

from itertools import permutations

import pytest
import torch

from partwise.models.instance_crf.matching import IGNORED, matched_target

P = 2


def scene(seed, people=3, size=8):
    generator = torch.Generator().manual_seed(seed)
    persons = torch.randint(0, people + 1, (size, size), generator=generator)
    parts = torch.randint(1, P + 1, (size, size), generator=generator) * (persons > 0)
    parts[0, 0] = 255
    predicted = torch.randint(0, people * P + 1, (size, size), generator=generator)
    return predicted, parts, persons


def iou_of(target, predicted, label):
    known = target != IGNORED
    a, b = (target == label) & known, (predicted == label) & known
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


@pytest.mark.parametrize("seed", range(6))
def test_the_target_is_the_permutation_with_the_largest_iou(seed):
    predicted, parts, persons = scene(seed)
    boxes = torch.tensor([[0.0, 0, 7, 7]]).expand(3, 4)
    target = matched_target(predicted, parts, persons, boxes, P)
    for j in (1, 2):
        best = 0.0
        for order in permutations(range(3)):
            z = torch.zeros_like(parts)
            for person, detection in enumerate(order, 1):
                z[(persons == person) & (parts == j)] = 1 + detection * P + j - 1
            z[parts == 255] = IGNORED
            best = max(best, sum(iou_of(z, predicted, 1 + d * P + j - 1) for d in range(3)))
        found = sum(iou_of(target, predicted, 1 + d * P + j - 1) for d in range(3))
        assert found == pytest.approx(best, abs=5e-3)  # boxes decide between equals
    assert (target[parts == 0] == 0).all()
    assert (target[parts == 255] == IGNORED).all()


def two_people():
    """Two people side by side, each with part 1 above part 2, and boxes of them in the other order."""
    persons, parts = torch.zeros(8, 12, dtype=torch.int64), torch.zeros(8, 12, dtype=torch.int64)
    persons[:, 1:5], persons[:, 7:11] = 7, 9
    parts[:4], parts[4:] = 1, 2
    parts *= persons > 0
    return parts, persons, torch.tensor([[7.0, 0, 10, 7], [1, 0, 4, 7]])


def test_a_swapped_prediction_is_right():
    parts, persons, boxes = two_people()
    predicted = torch.where(persons == 9, parts, torch.where(persons == 7, P + parts, 0))
    assert torch.equal(matched_target(predicted, parts, persons, boxes, P), predicted)


def test_parts_may_go_to_different_detections_unless_they_stay_together():
    parts, persons, boxes = two_people()
    predicted = torch.where(persons == 9, parts, torch.where(persons == 7, P + parts, 0))
    crossed = torch.where(parts == 2, torch.where(persons == 9, P + 2, torch.where(persons == 7, 2, 0)), predicted)
    crossed[:6] = torch.where(parts[:6] == 2, crossed[:6], crossed[:6])
    assert torch.equal(matched_target(crossed, parts, persons, boxes, P), crossed)
    crossed[6:] = torch.where(persons[6:] == 9, 2, torch.where(persons[6:] == 7, P + 2, 0))  # half of part 2 as it is
    together = matched_target(crossed, parts, persons, boxes, P, together=True)
    assert torch.equal(together, predicted)


def test_an_empty_prediction_learns_from_the_boxes_near():
    parts, persons, boxes = two_people()
    target = matched_target(torch.zeros_like(parts), parts, persons, boxes, P)
    assert torch.equal(target, torch.where(persons == 9, parts, torch.where(persons == 7, P + parts, 0)))


def test_people_without_a_detection_are_ignored_not_background():
    parts, persons, boxes = two_people()
    target = matched_target(torch.zeros_like(parts), parts, persons, boxes[:1], P)
    assert (target[persons == 7] == IGNORED).all()
    assert (target[persons == 9] == parts[persons == 9]).all()
    far = torch.tensor([[0.0, 0, 1, 1]])
    assert (matched_target(torch.zeros_like(parts), parts, persons, far, P)[persons > 0] == IGNORED).all()
    none = matched_target(torch.zeros_like(parts), parts, persons, boxes[:0], P)
    assert (none[persons > 0] == IGNORED).all()
    assert (none[persons == 0] == 0).all()


def test_parts_of_nobody_are_ignored():
    parts, persons, boxes = two_people()
    persons[0, 1] = 0
    target = matched_target(torch.zeros_like(parts), parts, persons, boxes, P)
    assert target[0, 1] == IGNORED
