"""The unary potentials against plain loops, and what they promise about boxes."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from partwise.models.instance_crf.potentials import inside, log_potentials, unary


def probabilities(parts=3, height=5, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(parts + 1, height, width, generator=generator, dtype=torch.float64).softmax(0)


def some_boxes(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 3
    boxes = torch.cat([low, low + 1 + torch.rand(count, 2, generator=generator, dtype=torch.float64) * 3], 1)
    return boxes, torch.rand(count, generator=generator, dtype=torch.float64)


def plain(Q, boxes, scores, w1, w2):
    parts, height, width = len(Q) - 1, Q.shape[1], Q.shape[2]
    u = torch.empty(parts * len(boxes) + 1, height, width, dtype=Q.dtype)
    for y in range(height):
        for x in range(width):
            u[0, y, x] = math.log(w2 * Q[0, y, x] + 1e-8)
            for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
                held = x0 <= x <= x1 and y0 <= y <= y1
                for j in range(1, parts + 1):
                    box = scores[i] * Q[j, y, x] if held else 0
                    u[i * parts + j, y, x] = math.log(w1 * box + w2 * Q[j, y, x] + 1e-8)
    return u


@pytest.mark.parametrize("count", [0, 1, 12])
def test_potentials_are_those_of_the_equations(count):
    Q, (boxes, scores) = probabilities(), some_boxes(count)
    torch.testing.assert_close(unary(Q, boxes, scores, 1.5, 0.5), plain(Q, boxes, scores, 1.5, 0.5))
    assert unary(Q, boxes, scores, 1, 1).shape == (3 * count + 1, 5, 6)


def test_ends_of_boxes_belong_to_them():
    held = inside(torch.tensor([[1.0, 2, 3, 2], [-5, -5, 0, 0], [4, 4, 99, 99]]), 5, 6)
    assert held[0].nonzero().tolist() == [[2, 1], [2, 2], [2, 3]]
    assert held[1].nonzero().tolist() == [[0, 0]]
    assert held[2].nonzero().tolist() == [[4, 4], [4, 5]]


def test_gradients_of_probabilities_and_weights():
    Q, (boxes, scores) = probabilities().requires_grad_(), some_boxes(2)
    w1, w2 = (torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in (1.2, 0.7))
    assert gradcheck(lambda Q, w1, w2: unary(Q, boxes, scores, w1, w2), (Q, w1, w2))


def test_permuting_detections_permutes_their_channels():
    Q, (boxes, scores) = probabilities(), some_boxes(4)
    order = torch.tensor([2, 0, 3, 1])
    u, permuted = unary(Q, boxes, scores, 1, 1), unary(Q, boxes[order], scores[order], 1, 1)
    assert torch.equal(permuted[0], u[0])
    assert torch.equal(permuted[1:].unflatten(0, (4, 3)), u[1:].unflatten(0, (4, 3))[order])


def test_without_the_global_term_nobody_is_outside_of_the_boxes():
    Q, (boxes, scores) = probabilities(), some_boxes(2)
    members = inside(boxes, 5, 6)
    u = log_potentials(Q, members, scores, 1, 1, everywhere=False)
    nobody = ~members.any(0)
    assert nobody.any()
    assert (u.argmax(0)[nobody] == 0).all()
    torch.testing.assert_close(u[0], unary(Q, boxes, scores, 1, 1)[0])


def test_weights_that_learning_made_negative_leave_the_logarithm_defined():
    Q, (boxes, scores) = probabilities(), some_boxes(2)
    assert unary(Q, boxes, scores, -1.0, -2.0).isfinite().all()


def test_a_weight_below_the_least_counts_as_the_least_and_finds_back():
    boxes, scores = torch.tensor([[0.0, 0, 3, 3], [2.0, 2, 5, 5]]), torch.tensor([0.9, 0.8])
    Q = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)).softmax(0)
    low = torch.tensor(-0.5, requires_grad=True)
    u = unary(Q, boxes, scores, low, 1.0)
    torch.testing.assert_close(u, unary(Q, boxes, scores, 1e-4, 1.0))
    u.softmax(0)[1:3].sum().backward()
    assert low.grad > 0
