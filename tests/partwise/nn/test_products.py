"""Convolutions as matrix products: equal to the library's, forward and backward, on either side of their limits."""

import pytest
import torch

from partwise.nn.products import FEW_PATCHES, FEW_SPREAD, PatchConv2d, SpreadConv2d, SpreadConvTranspose2d

FEW = [(1, 3, 4), (2, 4, 2)]
MANY = [(1, 9, 11), (3, 20, 13)]


def check(layer, library, x):
    """Same results and gradients as `library` with the layer's weights."""
    library.load_state_dict(layer.state_dict())
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    ours, theirs = layer(inputs[0]), library(inputs[1])
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)
    weights = torch.rand_like(theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-12, rtol=1e-9)
    for mine, other in zip(layer.parameters(), library.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [*FEW, *MANY])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (5, 2)])
def test_patches(kernel, stride, shape, bias):
    options = {"stride": stride, "padding": kernel // 2, "bias": bias, "dtype": torch.float64}
    check(
        PatchConv2d(6, 5, kernel, **options), torch.nn.Conv2d(6, 5, kernel, **options), torch.rand(
            shape[0], 6, *shape[1:], dtype=torch.float64
        )
    )  # fmt: skip


@pytest.mark.parametrize("shape", [*FEW, *MANY])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (3, 2, 0)])
def test_spread_transposed(kernel, stride, padding, shape):
    options = {"stride": stride, "padding": padding, "dtype": torch.float64}
    x = torch.rand(shape[0], 6, *shape[1:], dtype=torch.float64)
    check(SpreadConvTranspose2d(6, 5, kernel, **options), torch.nn.ConvTranspose2d(6, 5, kernel, **options), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [*FEW, *MANY])
def test_spread(shape, layout):
    options = {"padding": 1, "dtype": torch.float64}
    x = torch.rand(shape[0], 6, *shape[1:], dtype=torch.float64).contiguous(memory_format=layout)
    check(SpreadConv2d(6, 2, 3, **options), torch.nn.Conv2d(6, 2, 3, **options), x)


def test_both_sides_of_the_limits_are_tested():
    sizes = [n * h * w for n, h, w in (*FEW, *MANY)]
    assert min(sizes) <= FEW_PATCHES < max(sizes)
    assert min(sizes) <= FEW_SPREAD < max(sizes)
