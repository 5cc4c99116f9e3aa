"""FlowNet-S: shapes at any size, the loss against a plain sum, and that it learns a shift; the normed correlation."""

import pytest
import torch

from partwise.nn.flownet import FLOW_UNIT, LEVEL_WEIGHTS, CorrelationFlow, FlowNetS, flow_loss, full_flow


@pytest.mark.parametrize("size", [(64, 128), (96, 72), (100, 60)])
def test_five_scales(size):
    net = FlowNetS(0.125).eval()
    images = torch.rand(2, 3, *size)
    flows, top = net(images, images)
    assert [tuple(f.shape) for f in flows] == [(2, 2, -(-size[0] // s), -(-size[1] // s)) for s in (4, 8, 16, 32, 64)]
    assert top.shape == (2, net.top_channels, *flows[0].shape[-2:])


def test_full_width_has_the_published_channels():
    net = FlowNetS()
    assert net.top_channels == 194
    assert [d[0].in_channels for d in net.decoder.deconvs] == [1024, 1026, 770, 386]
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(38.7e6, rel=0.01)


def test_loss_is_the_weighted_sum_of_end_point_errors():
    target = torch.randn(2, 2, 64, 64) * 10
    flows = [torch.randn(2, 2, 64 // s, 64 // s) for s in (4, 8, 16, 32, 64)]
    total = 0.0
    for weight, flow, s in zip(LEVEL_WEIGHTS, flows, (4, 8, 16, 32, 64), strict=True):
        for b in range(2):
            for y in range(64 // s):
                for x in range(64 // s):
                    truth = target[b, :, y * s : y * s + s, x * s : x * s + s].mean((1, 2)) / FLOW_UNIT
                    total += weight * (flow[b, :, y, x] - truth).norm().item() / 2
    assert flow_loss(flows, target).item() == pytest.approx(total, rel=1e-4)


def test_corner_aligned_flows_are_compared_around_the_pixels_they_lie_at():
    """Of sides 8n + 1; a coarse pixel's truth is the mean of the window around it, inside the image."""
    target = torch.randn(1, 2, 81, 41) * 10
    flows = [torch.randn(1, 2, -(-81 // s), -(-41 // s)) for s in (4, 8, 16, 32, 64)]
    total = 0.0
    for weight, flow, s in zip(LEVEL_WEIGHTS, flows, (4, 8, 16, 32, 64), strict=True):
        for y in range(flow.shape[2]):
            for x in range(flow.shape[3]):
                rows, columns = (slice(max(s * i - s // 2, 0), s * i + s // 2 + 1) for i in (y, x))
                truth = target[0, :, rows, columns].mean((1, 2)) / FLOW_UNIT
                total += weight * (flow[0, :, y, x] - truth).norm().item()
    assert flow_loss(flows, target, align_corners=True).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("size", [(81, 41), (96, 120)])
def test_a_linear_motion_comes_back_from_a_corner_aligned_network(size):
    y, x = torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")
    truth = torch.stack([1 + 0.1 * x - 0.05 * y, 2 - 0.02 * x + 0.03 * y])[None]
    flow = full_flow(truth[..., ::4, ::4] / FLOW_UNIT, size, align_corners=True)
    inside = tuple(slice(4 * ((side - 1) // 4) + 1) for side in size)
    torch.testing.assert_close(flow[..., *inside], truth[..., *inside])


def test_a_perfect_prediction_costs_nothing_and_has_a_gradient():
    flows = [torch.zeros(1, 2, s, s, requires_grad=True) for s in (16, 8, 4, 2, 1)]
    loss = flow_loss(flows, torch.zeros(1, 2, 64, 64))
    loss.backward()
    assert loss.item() < 1e-3
    assert all(torch.isfinite(f.grad).all() for f in flows)


@pytest.mark.process
def test_it_learns_a_shift():
    torch.manual_seed(0)
    net = FlowNetS(0.25)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    source = torch.nn.functional.interpolate(torch.rand(4, 3, 20, 20), (96, 96), mode="bilinear")
    target, source = source[..., 16:80, 16:80], source[..., 16:80, 12:76]  # p of the target lies at p + (4, 0)
    truth = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand(4, 2, 64, 64)
    first = last = 0.0
    for step in range(30):
        flows, _ = net(target, source)
        loss = flow_loss(flows, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.35 * first
    assert (net(target, source)[0][0] * FLOW_UNIT)[:, 0].mean().item() == pytest.approx(4, abs=1.5)


def test_normed_correlation_does_not_see_what_all_pixels_share():
    torch.manual_seed(0)
    target, source, skip = torch.rand(2, 8, 9, 9), torch.rand(2, 8, 9, 9), torch.rand(2, 4, 18, 18)

    def change(norm):
        net = CorrelationFlow(8, 4, displacement=2, width=0.125, norm=norm)
        torch.nn.init.zeros_(net.redirect[0].weight)  # leaves the correlation alone
        flow, brighter = net(target, source, skip)[0], net(target + 5, source + 5, skip)[0]
        return ((flow - brighter).norm() / flow.norm()).item()

    assert change(norm=True) < 1e-3
    assert change(norm=False) > 0.1
