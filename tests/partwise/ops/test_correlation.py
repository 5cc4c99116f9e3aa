"""The correlation layer against its definition, and its gradient."""

import pytest
import torch

from partwise.ops.correlation import correlation


def by_definition(target, source, displacement, step):
    batch, _, height, width = target.shape
    shifts = range(-displacement, displacement + 1, step)
    result = torch.zeros(batch, len(shifts) ** 2, height, width, dtype=target.dtype)
    for i, dy in enumerate(shifts):
        for j, dx in enumerate(shifts):
            for y in range(max(0, -dy), min(height, height - dy)):
                for x in range(max(0, -dx), min(width, width - dx)):
                    products = target[:, :, y, x] * source[:, :, y + dy, x + dx]
                    result[:, i * len(shifts) + j, y, x] = products.mean(1)
    return result


@pytest.mark.parametrize("size", [(6, 5), (1, 7), (3, 1)])
@pytest.mark.parametrize(("displacement", "step"), [(0, 1), (2, 1), (4, 2), (3, 3), (8, 2)])
def test_it_is_the_mean_product_at_every_displacement(size, displacement, step):
    torch.manual_seed(0)
    target, source = (torch.rand(2, 3, *size, dtype=torch.double) for _ in range(2))
    torch.testing.assert_close(
        correlation(target, source, displacement, step), by_definition(target, source, displacement, step)
    )


@pytest.mark.parametrize(("displacement", "step"), [(1, 1), (2, 2), (4, 2)])
def test_gradients(displacement, step):
    torch.manual_seed(0)
    pair = [torch.rand(2, 2, 3, 4, dtype=torch.double, requires_grad=True) for _ in range(2)]
    torch.autograd.gradcheck(lambda a, b: correlation(a, b, displacement, step), pair)


def test_the_best_match_lies_where_the_feature_moved():
    torch.manual_seed(0)
    source = torch.nn.functional.normalize(torch.randn(1, 32, 12, 12), dim=1)
    target = source.roll((-2, 3), (2, 3))  # target[y, x] = source[y + 2, x - 3]
    best = correlation(target, source, 4, 1)[0, :, 4:8, 4:8].argmax(0)
    assert (best == (2 + 4) * 9 + (-3 + 4)).all()


def test_any_memory_layout_and_half_precision():
    torch.manual_seed(0)
    target, source = torch.rand(2, 2, 8, 6, 5)
    expected = correlation(target, source, 2, 1)
    last = [x.to(memory_format=torch.channels_last) for x in (target, source)]
    torch.testing.assert_close(correlation(last[0], last[1], 2, 1), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = correlation(target.bfloat16(), source.bfloat16(), 2, 1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=2e-2, rtol=0)


@pytest.mark.parametrize(
    ("shapes", "options"), [(((1, 2, 4, 4), (1, 2, 4, 5)), {}), (((1, 2, 4, 4),) * 2, {"step": 3})]
)
def test_what_does_not_fit_is_refused(shapes, options):
    with pytest.raises(ValueError, match=r"alike|multiple"):
        correlation(*(torch.rand(s) for s in shapes), **options)
