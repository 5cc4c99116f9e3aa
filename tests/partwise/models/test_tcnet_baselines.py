"""TCNet's baselines against what their papers define."""

import pytest
import small_networks
import torch
from small_networks import build
from torch.utils._python_dispatch import TorchDispatchMode

from partwise.models.baselines.em_adapt import adapt, draw_orders
from partwise.models.baselines.fcn8s import FCN8s, _upsample
from partwise.models.baselines.netwarp import DIS, FlowTransform, PlainFlow
from partwise.nn.flownet import FLOW_UNIT
from partwise.ops.flow import centred_mean
from partwise.ops.resize import Letterbox

SIZE = small_networks.SIZE
VGG = {"pretrained": False, "norm": True, "backbone_multiplier": 0.125, "width": 16}


def deeplab(**options):
    return build(small_networks.deeplab_v2(**options)).eval()


def netwarp(**options):
    return build(small_networks.netwarp(**options)).eval()


@pytest.mark.parametrize("flow", ["DIS", "PlainFlow"])
def test_netwarp_starts_as_deeplab(flow):
    network, single = netwarp(flow=flow), deeplab()
    single.trunk.load_state_dict(network.trunk.state_dict())
    single.parsing.load_state_dict(network.parsing.state_dict())
    frames = torch.rand(2, 2, 3, *SIZE)
    torch.testing.assert_close(network(frames), single.logits(frames[:, 1]), atol=1e-5, rtol=1e-4)


def test_netwarp_takes_the_last_feature_where_the_flow_points(monkeypatch):
    network = netwarp()
    network.now.data.zero_()
    network.then.data.fill_(1.0)
    monkeypatch.setattr(network.flow, "forward", lambda target, source: torch.full((1, 2, *SIZE), 8.0))
    z, before = torch.rand(2, 1, 64, 8, 5)
    seen = []
    monkeypatch.setattr(network.parsing, "forward", lambda x: seen.append(x) or torch.zeros(1, 5, 8, 5))
    image = torch.rand(1, 3, *SIZE)
    network.combine(image, z, image, before)
    torch.testing.assert_close(seen[0][..., :-1, :-1], before[..., 1:, 1:], atol=2e-4, rtol=1e-4)


def test_the_flow_transform_passes_the_flow_on_at_first():
    flow = torch.randn(1, 2, *SIZE)
    images = torch.rand(2, 1, 3, *SIZE)
    torch.testing.assert_close(FlowTransform()(flow, *images), centred_mean(flow, 8) / 8)


def test_a_linear_flow_lies_on_the_features():
    """Feature i of stride 8 lies at pixel 8 i of the image."""
    x = torch.arange(33.0).expand(57, 33)
    flow = torch.stack([x / 4, 2 - x / 8])[None]
    passed = FlowTransform()(flow, *torch.rand(2, 1, 3, 57, 33))
    torch.testing.assert_close(passed[..., 1:-1], flow[..., ::8, ::8][..., 1:-1] / 8)


def test_flow_of_an_enlarged_image_is_told_in_its_own_pixels(monkeypatch):
    """FlowNet-S takes sides divisible by 4; 241 x 121 pixels reach it as 244 x 124."""
    network = PlainFlow(0.0625)
    told = torch.tensor([1.24, -2.44]).view(1, 2, 1, 1).expand(1, 2, 61, 31) / FLOW_UNIT
    monkeypatch.setattr(network.net, "forward", lambda target, source: ([told], None))
    flow = network(*torch.rand(2, 1, 3, 241, 121))
    expected = torch.tensor([1.21, -2.41]).view(1, 2, 1, 1).expand(1, 2, 241, 121)
    torch.testing.assert_close(flow, expected)


def test_netwarp_streams_what_clips_give():
    network, images = netwarp(), [torch.rand(1, 3, *SIZE) for _ in range(4)]
    network.then.data.fill_(0.5)
    with torch.inference_mode():
        streamed = list(network.stream_scores(iter(images)))
        for t in range(4):
            expected = network(torch.stack([images[max(t - 1, 0)], images[t]], 1))
            torch.testing.assert_close(streamed[t], expected, atol=1e-5, rtol=1e-4)


def test_dis_finds_a_shift_towards_the_source():
    scene = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12), (96, 96), mode="bicubic").clamp(0, 1)
    target, source = scene[..., 8:88, 8:88], scene[..., 8:88, 5:85]  # p of the target lies at p + (3, 0)
    flow = DIS()(target, source)
    assert flow[0, 0, 20:60, 20:60].mean().item() == pytest.approx(3, abs=0.3)
    assert flow[0, 1, 20:60, 20:60].abs().mean() < 0.3


def adapt_one_by_one(scores, present, shares, orders):
    """A frame (K, H, W) after another, class after class."""
    f = scores.clone()
    floor = f[present].amin(0) - 1e-5
    f[~present] = torch.minimum(f[~present], floor)
    for order in orders.tolist():
        for c in order[: int(present.sum())]:
            lack = f.amax(0) - f[c]
            f[c] += torch.quantile(lack.flatten(), float(shares[c]))
    return f


def test_adaptive_biases_of_a_batch_are_those_of_its_frames():
    torch.manual_seed(0)
    scores, present = 3 * torch.randn(6, 7, 11, 9), torch.rand(6, 7) < 0.6
    present[0], present[1], present[2], present[3, 0] = True, False, False, False
    present[1, 4] = True  # one class, not background; and in 2 none at all
    shares, orders = 0.5 * torch.rand(7), draw_orders(present)
    biased = adapt(scores, present, shares, orders)
    for frame in (0, 1, 3, 4, 5):
        expected = adapt_one_by_one(scores[frame], present[frame], shares, orders[:, frame])
        torch.testing.assert_close(biased[frame], expected, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(biased).all()


def test_rounds_begin_with_background_and_shuffle_the_rest():
    torch.manual_seed(0)
    present = torch.tensor([[True, True, False, True, True], [False, True, False, False, True]])
    orders = draw_orders(present)
    assert orders.shape == (5, 2, 5)
    assert (orders[:, 0, 0] == 0).all()
    assert orders.sort(-1).values.eq(torch.arange(5)).all()
    assert {2} == set(orders[:, 0, 4].tolist())
    assert all(set(order[:2]) == {1, 4} for order in orders[:, 1].tolist())
    assert len(set(map(tuple, draw_orders(present.repeat(20, 1))[0, ::2].tolist()))) > 3


def test_adaptive_biases_give_every_present_class_its_share():
    torch.manual_seed(0)
    scores, present = torch.randn(1, 4, 20, 20), torch.tensor([[True, True, False, True]])
    scores[:, 3] -= 10  # would never win
    biased = adapt(scores, present, torch.tensor([0.4, 0.2, 0.2, 0.2]))
    won = torch.bincount(biased.argmax(1).flatten(), minlength=4) / 400
    assert won[2] == 0
    assert (won[[1, 3]] > 0.1).all()
    assert won[0] > 0.25


def test_a_quantile_of_one_class_is_exact():
    """With background alone raised once, it wins exactly its share."""
    scores = torch.stack([torch.zeros(100), torch.arange(1.0, 101.0)]).view(1, 2, 10, 10)
    present = torch.tensor([[True, False]])
    assert (adapt(scores, present, torch.tensor([0.4, 0.2])).argmax(1) == 0).all()


def test_fixed_biases_raise_the_present_and_leave_the_others():
    network = build(small_networks.em_adapt(mode="fixed", biases=(3.0, 5.0)))
    scores = torch.zeros(2, 5, 1, 2)
    scores[:, 0], scores[:, 1], scores[:, 4, 0, 1] = 1.5, 0.0, 100.0
    present = torch.tensor([[True, True, False, False, False], [False] * 5])
    expected = network.expect(scores, present)
    assert expected[0].tolist() == [[1, 4]]  # 0 + 5 > 1.5 + 3; 4 is not there, but by far the best
    assert (expected[1] == 255).all()


class Waits(TorchDispatchMode):
    """Counts operations whose result the processor has to wait for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal"):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("mode", "most"), [("adapt", 1), ("fixed", 0)])
def test_a_step_of_em_waits_for_the_device_once(mode, most):
    network = build(small_networks.em_adapt(mode=mode)).train()
    parts = torch.randint(0, 5, (3, *SIZE))
    frames = torch.rand(3, 2, 3, *SIZE)
    with Waits() as waits:
        network.losses({"frames": frames, "parts": parts, "index": [0, 1, 2], "sample_ids": ["a", "b", "c"]})
    assert len(waits.names) <= most


@pytest.mark.parametrize("mode", ["adapt", "fixed"])
def test_em_losses_weigh_both_kinds_of_frames(mode):
    network = build(small_networks.em_adapt(mode=mode)).train()
    parts = torch.zeros(2, *SIZE, dtype=torch.long)
    parts[0, 20:30], parts[1] = 2, 255
    frames = torch.rand(2, 2, 3, *SIZE)
    losses = network.losses({"frames": frames, "parts": parts, "index": [0, 1], "sample_ids": ["a", "b"]})
    assert set(losses) == {"labelled", "unlabelled"}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.frames.tolist() == [1, 0, 1, 0, 0]
    assert network.areas[2].item() == pytest.approx(10 / SIZE[0])


def test_fcn8s_answers_at_the_images_size():
    network = FCN8s(5, **VGG).eval()
    torch.nn.init.normal_(network.score.weight)
    images = torch.rand(1, 3, 121, 61)
    assert network.logits(images).shape == (1, 5, 121, 61)
    (parsing,) = network.parse(
        {"images": images, "index": [0], "sample_ids": ["a"]}, [Letterbox.stretch((100, 50), (121, 61))]
    )
    assert parsing["parts"].shape == (100, 50)


@pytest.mark.parametrize("factor", [2, 8])
def test_upsampling_is_bilinear(factor):
    x = torch.arange(12.0).view(1, 1, 3, 4)
    whole = _upsample(x, factor)
    inner = whole[..., factor // 2 : -(factor // 2), factor // 2 : -(factor // 2)]
    expected = torch.nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    margin = factor
    torch.testing.assert_close(
        inner[..., margin:-margin, margin:-margin], expected[..., margin:-margin, margin:-margin]
    )


def test_fcn8s_scores_lie_where_the_pixels_are():
    """A block that fills one pixel of pool3; the score of stride 8 alone answers, around the block's middle."""
    network = FCN8s(2, **{**VGG, "norm": False}).eval()
    for p in network.parameters():
        p.data.zero_()
    for conv in network.to_pool3:
        if isinstance(conv, torch.nn.Conv2d):
            conv.weight.data[:, 0, 1, 1] = 1.0
    network.score3.weight.data[1, 0] = 1e4
    images = torch.zeros(1, 3, 121, 121)
    images[..., 61:69, 37:45] = 1.0
    response = network.logits(images)[0, 1].double()
    response -= response.min()
    places = torch.arange(121.0, dtype=torch.double)
    y, x = ((response.sum(1 - axis) * places).sum() / response.sum() for axis in (0, 1))
    assert (y.item(), x.item()) == pytest.approx((64.5, 40.5), abs=1e-3)
