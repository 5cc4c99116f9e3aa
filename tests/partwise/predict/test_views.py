import pytest
import small_networks
import torch
from torch import nn

from partwise.errors import InputError
from partwise.labels import FACTS
from partwise.ops.flip import flip_scores
from partwise.ops.resize import Letterbox
from partwise.predict.views import MultiScale, SlidingWindows, with_views


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = small_networks.build(small_networks.deeplab())
    with torch.no_grad():
        for branch in made.parsing.branches:  # they start near zero, where all views agree
            branch.weight.mul_(100)
    return made.eval()


@torch.no_grad()
def test_one_view_is_the_network_itself(network):
    assert with_views(network, FACTS) is network
    images = torch.rand(2, 3, 64, 48)
    boxes = [Letterbox.fit((64, 48), (64, 48)), Letterbox.fit((40, 48), (64, 48))]
    plain, averaged = (n.parse({"images": images}, boxes) for n in (network, MultiScale(network, FACTS)))
    for one, other in zip(plain, averaged, strict=True):
        assert torch.equal(one["parts"], other["parts"])
    assert averaged[1]["parts"].shape == (40, 48)


@torch.no_grad()
def test_the_mirror_image_gives_the_mirrored_parse(network):
    views = with_views(network, FACTS, scales=[0.75, 1.0, 1.5], flip=True)
    images = torch.rand(1, 3, 64, 48)
    straight, mirrored = (views.logits(x).softmax(1) for x in (images, images.flip(-1)))
    assert torch.allclose(flip_scores(mirrored, FACTS), straight, atol=1e-5)
    assert not torch.allclose(network.logits(images).softmax(1), straight, atol=1e-3)


@torch.no_grad()
def test_views_are_averaged_as_probabilities(network):
    images = torch.rand(1, 3, 64, 48)
    small = nn.functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    probs = nn.functional.interpolate(network.logits(small).softmax(1), (64, 48), mode="bilinear")
    expected = (probs + network.logits(images).softmax(1)) / 2
    found = with_views(network, FACTS, scales=[0.5, 1.0]).logits(images).softmax(1)  # 24 becomes 32, a multiple of 16
    assert torch.allclose(found, expected, atol=1e-6)


def test_what_cannot_be_is_refused(network):
    with pytest.raises(InputError, match="no dense parser"):
        with_views(nn.Identity(), FACTS, flip=True)
    with pytest.raises(InputError, match=r"testing\.views\.scales"):
        with_views(network, FACTS, scales=[0.0])
    with pytest.raises(InputError, match="anchors"):
        SlidingWindows(nn.Identity(), (64, 48))


@torch.no_grad()
def test_windows_cover_a_larger_canvas_and_are_averaged(network):
    windows = SlidingWindows(network, (64, 48))
    images = torch.rand(1, 3, 64, 72)
    found = windows.logits(images).softmax(1)
    left, right = (network.logits(images[..., x : x + 48]).softmax(1) for x in (0, 24))
    assert torch.allclose(found[..., :24], left[..., :24], atol=1e-6)
    assert torch.allclose(found[..., 24:48], (left[..., 24:] + right[..., :24]) / 2, atol=1e-6)
    assert torch.allclose(found[..., 48:], right[..., 24:], atol=1e-6)
    same = torch.rand(1, 3, 64, 48)
    assert torch.allclose(windows.logits(same).softmax(1), network.logits(same).softmax(1), atol=1e-6)
    assert windows.logits(torch.rand(1, 3, 100, 200)).shape == (1, 13, 100, 200)
