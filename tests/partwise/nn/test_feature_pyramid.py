"""Feature pyramids against torchvision's, and the four stages of a ResNet."""

from collections import OrderedDict

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

from partwise.errors import InputError
from partwise.nn.backbone import FrozenStatistics, Stages
from partwise.nn.feature_pyramid import FeaturePyramid


def test_stages_have_their_strides_and_channels():
    stages = Stages("resnet18", "none", 0.25).eval()
    features = stages(torch.rand(1, 3, 64, 96))
    assert stages.channels == [feature.shape[1] for feature in features] == [16, 32, 64, 128]
    assert [tuple(feature.shape[2:]) for feature in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_stages_take_the_stand_in_s_weights_with_frozen_statistics():
    stages = Stages("resnet18", "standin", 0.5)
    assert any(isinstance(module, FrozenStatistics) for module in stages.modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in stages.modules())


def test_only_resnets_have_four_stages():
    with pytest.raises(InputError, match="is no ResNet"):
        Stages("convnext_tiny", "none")


def test_levels_are_torchvision_s():
    torch.manual_seed(0)
    pyramid = FeaturePyramid(Stages("resnet18", "none", 0.25), 8).eval()
    theirs = FeaturePyramidNetwork(pyramid.stages.channels, 8)
    for own, other in ((pyramid.lateral, theirs.inner_blocks), (pyramid.smooth, theirs.layer_blocks)):
        other.load_state_dict({key.replace(".", ".0.", 1): value for key, value in own.state_dict().items()})
    images = torch.rand(2, 3, 64, 96)
    want = theirs(OrderedDict(enumerate(pyramid.stages(images))))
    for ours, level in zip(pyramid(images), want.values(), strict=True):
        torch.testing.assert_close(ours, level)


def test_one_level_is_the_finest_and_everything_is_trained():
    pyramid = FeaturePyramid(Stages("resnet18", "none", 0.25), 8, levels=1, upsampling="bilinear")
    (level,) = pyramid(torch.rand(2, 3, 64, 96))
    assert level.shape == (2, 8, 16, 24)
    level.square().sum().backward()
    assert all(parameter.grad is not None for parameter in pyramid.parameters())
    assert all(conv.weight.grad.any() for conv in (*pyramid.lateral, *pyramid.smooth))
