import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from partwise.batches import InstanceMap
from partwise.ops.instances import boxes_of, join_parts, join_persons, paste_mask


@given(st.integers(0, 2**31 - 1), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_boxes_are_the_tight_ones(seed, people):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, people + 1, (3, 13, 17), generator=generator) * 3  # sparse ids
    maps[seed % 3].clamp_(min=seed % 2)  # perhaps a map without nobody
    maps[(seed + 1) % 3] = 0  # and one of nobody else
    for ids, (found, boxes) in zip(maps, boxes_of(maps), strict=True):
        assert found.tolist() == [i for i in ids.unique().tolist() if i]
        for i, (x0, y0, x1, y1) in zip(found, boxes.int().tolist(), strict=True):
            ys, xs = torch.nonzero(ids == i, as_tuple=True)
            assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def pasted_whole(mask, box, size):
    """A pasted mask on the whole image."""
    rows, columns, here = paste_mask(mask, box, size)
    whole = torch.zeros(size, dtype=torch.bool)
    whole[rows, columns] = here
    return whole


@pytest.mark.parametrize("box", [[3.0, 2.0, 3.0, 9.0], [20.0, 2.0, 30.0, 9.0], [-9.0, 2.0, -1.0, 9.0]])
def test_a_box_without_pixels_of_the_image_has_no_mask(box):
    assert not pasted_whole(torch.ones(28, 28), box, (12, 14)).any()


def test_a_full_mask_fills_its_box_and_nothing_else():
    pasted = pasted_whole(torch.ones(28, 28), [3.0, 2.0, 11.0, 9.0], (12, 14))
    expected = torch.zeros(12, 14, dtype=torch.bool)
    expected[2:9, 3:11] = True
    assert torch.equal(pasted, expected)


def test_a_mask_is_cut_at_the_image_border():
    pasted = pasted_whole(torch.ones(28, 28), [-5.0, -5.0, 4.0, 40.0], (10, 10))
    assert pasted[:, :4].all()
    assert not pasted[:, 4:].any()


def test_half_a_mask_covers_half_the_box():
    mask = torch.zeros(28, 28)
    mask[:, :14] = 1
    pasted = pasted_whole(mask, [0.0, 0.0, 56.0, 28.0], (28, 56))
    assert pasted[:, :28].all()
    assert not pasted[:, 28:].any()


def test_later_persons_lose_claimed_pixels_and_vanish_when_too_little_remains():
    boxes = torch.tensor([[0.0, 0, 10, 10], [8.0, 0, 18, 10], [1.0, 1, 9, 9]])
    persons, kept = join_persons(torch.ones(3, 28, 28), boxes, torch.tensor([0.8, 0.9, 0.95]), (10, 20))
    # 0.95 claims 8x8; 0.9 keeps all but a column of 8 (92 %); 0.8 keeps 28 of 100 and is dropped
    assert persons["scores"].tolist() == torch.tensor([0.95, 0.9]).tolist()
    assert (persons["map"] == 1).sum() == 64
    assert (persons["map"] == 2).sum() == 100 - 8
    assert kept.tolist() == boxes[[2, 1]].tolist()


class ReadByHost(TorchDispatchMode):
    """Counts the operators that make the host wait for a GPU: each reads a value, or makes a shape from one."""

    WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "index.Tensor")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in self.WAITING)
        return function(*args, **(kwargs or {}))


def test_the_host_waits_as_often_for_many_detections_as_for_two():
    counts = []
    for people in (2, 40):
        boxes = torch.rand(people, 4) * 20 + torch.tensor([0.0, 0, 20, 20])
        with ReadByHost() as mode:
            join_persons(torch.rand(people, 28, 28), boxes, torch.rand(people), (50, 50))
        counts.append(mode.count)
    assert counts[0] == counts[1]


def test_exactly_the_kept_share_is_dropped():
    # the rule skips an instance if remaining / original <= 0.7
    boxes = torch.tensor([[0.0, 0, 3, 10], [0.0, 0, 10, 10]])
    persons, _ = join_persons(torch.ones(2, 28, 28), boxes, torch.tensor([0.9, 0.8]), (10, 10))
    assert len(persons["classes"]) == 1


def test_nobody_found():
    persons, boxes = join_persons(torch.zeros(0, 28, 28), torch.zeros(0, 4), torch.zeros(0), (5, 6))
    assert persons["map"].shape == (5, 6)
    assert not persons["map"].any()
    assert boxes.shape == (0, 4)
    parts, instances = join_parts(torch.rand(4, 5, 6), persons)
    assert parts.shape == (5, 6)
    assert not instances["map"].any()
    assert len(instances["classes"]) == len(instances["scores"]) == 0


def naive_join(probs, persons):
    """The rule as the specification words it: class by class, person by person."""
    parts = probs.argmax(0)
    out, classes, scores = torch.zeros_like(parts), [], []
    for c in range(1, len(probs)):
        for i in range(1, len(persons["classes"]) + 1):
            region = (parts == c) & (persons["map"] == i)
            if region.any():
                classes.append(c)
                scores.append((probs[c][region].mean() * persons["scores"][i - 1]).item())
                out[region] = len(classes)
    return parts, out, classes, scores


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_joining_equals_the_rule_spelled_out(seed):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(5, 9, 11, generator=generator).softmax(0)
    people = int(torch.randint(0, 4, (1,), generator=generator))
    persons = InstanceMap(
        map=torch.randint(0 if seed % 2 else min(people, 1), people + 1, (9, 11), generator=generator),
        classes=torch.ones(people, dtype=torch.int64),
        scores=torch.rand(people, generator=generator),
    )
    parts, instances = join_parts(probs, persons)
    want_parts, want_map, classes, scores = naive_join(probs, persons)
    assert torch.equal(parts, want_parts)
    assert torch.equal(instances["map"], want_map)
    assert instances["classes"].tolist() == classes
    assert torch.allclose(instances["scores"], torch.tensor(scores), atol=1e-6)
