import pytest
import torch
import torch.nn.functional as F
from torch import nn

from partwise.nn.hourglass import Hourglass, StackedHourglass


def tiny(stacks=3, depth=2):
    torch.manual_seed(0)
    return StackedHourglass(6, stacks, depth, 12, 4, (4, 8))


def test_paper_sizes():
    """512 pixels become 128; four hourglasses of 256, 384, 512, 640 and 768 channels; no batch norm."""
    with torch.device("meta"):
        model = StackedHourglass(34)
        found = model(torch.empty(1, 3, 512, 512))
    assert found.maps.shape == (1, 4, 34, 128, 128)
    assert found.stem.shape == found.first.shape == (1, 256, 128, 128)
    hourglass = model.hourglasses[0][0]
    widths = []
    while isinstance(hourglass, Hourglass):
        widths.append(hourglass.down[0].out_channels)
        hourglass = hourglass.inner
    assert widths == [384, 512, 640, 768]
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_an_hourglass_is_its_skip_and_what_smaller_scales_add():
    torch.manual_seed(0)
    hourglass = Hourglass(3, 2, 2)
    x = torch.rand(2, 3, 8, 12)
    outer, inner = hourglass, hourglass.inner
    down = outer.down(F.max_pool2d(x, 2))
    below = inner.up(inner.inner(inner.down(F.max_pool2d(down, 2)))).repeat_interleave(2, 2).repeat_interleave(2, 3)
    above = outer.up(inner.skip(down) + below).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(hourglass(x), outer.skip(x) + above)


@pytest.mark.parametrize("stacks", [1, 3])
def test_gradient_reaches_every_parameter(stacks):
    model = tiny(stacks)
    model(torch.rand(2, 3, 64, 48)).maps.square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_later_hourglasses_read_what_earlier_ones_predict():
    model = tiny()
    images = torch.rand(1, 3, 32, 32)
    before = model(images).maps
    nn.init.normal_(model.heads[0].weight)
    after = model(images).maps
    assert all(not torch.allclose(before[:, i], after[:, i]) for i in range(3))


def test_features_are_those_of_the_first_hourglass():
    model = tiny()
    images = torch.rand(2, 3, 32, 64)
    found = model(images)
    for expected, feature in zip((found.stem, found.first), model.features(images), strict=True):
        assert torch.equal(expected, feature)
    assert torch.equal(found.maps[:, 0], model.heads[0](found.first))
    assert found.stem.shape == (2, 12, 8, 16)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        tiny()(torch.rand(1, 3, 40, 32))
