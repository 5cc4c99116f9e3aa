"""TCNet against its equations, its memory buffer, and the refinement of its flow."""

import math

import pytest
import small_networks
import torch
import torch.nn.functional as F

from partwise.labels import FACTS
from partwise.models.tcnet.fusion import FrameFusion, PixelFusion
from partwise.models.tcnet.model import confidence
from partwise.models.tcnet.task import RefinementTask
from partwise.ops.resize import Letterbox

SIZE = small_networks.SIZE


def tcnet(**options):
    return small_networks.build(small_networks.tcnet(**options)).eval()


@pytest.mark.parametrize("size", [SIZE, (121, 61)])
def test_shapes(size):
    network, frames = tcnet(frame={"image_size": size}), torch.rand(2, 3, 3, *size)
    now, fused = network(frames)
    assert now.scores.shape == fused.scores.shape == (2, 5, *size)
    assert [c.flow.shape for c in fused.carried] == [(2, 2, *size)] * 2
    assert now.conv5.shape[-2:] == tuple((side - 1) // 8 + 1 for side in size)
    assert fused.presence.shape == (2, 5)


def test_features_lie_at_multiples_of_their_strides():
    """Layers that average tell the place of each feature: a rising ramp's answer less a falling one's, by half.

    The pools take the same step up both ramps, which cancels out.
    """
    network = tcnet(norm=False)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.fill_(1 / layer.weight[0].numel())
            layer.bias = None
    network.trunk.mean.zero_()
    network.trunk.std.fill_(1.0)

    def features(image):
        conv3, conv5 = network.trunk(image)
        x4 = network.flow.conv4(conv5[:, :1].expand(-1, network.flow.conv4[0][0].in_channels, -1, -1))
        x5 = network.flow.conv5(x4)
        return conv3, conv5, x4, x5

    ramp = torch.arange(641.0).expand(1, 3, 641, 641)
    rising, falling = features(1000 + ramp), features(1000 - ramp)
    for up, down, stride in zip(rising, falling, (4, 8, 16, 32), strict=True):
        middle = up.shape[-1] // 2
        place = (up - down)[0, 0, middle, middle] / 2
        assert place.item() == pytest.approx(stride * middle, abs=0.05)


def test_flow_and_scores_lie_on_the_same_pixels(monkeypatch):
    """A motion that grows linearly comes to the images' size as it is, to the last pixel."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    truth = torch.stack([1 + 0.1 * x - 0.05 * y, 2 - 0.02 * x + 0.03 * y])[None]
    coarse = truth[..., ::4, ::4] / 20
    network, trunk = tcnet(), small_networks.build(small_networks.trunk_flow())
    frames = torch.rand(1, 2, 3, *SIZE)
    for flow in (network.flow, trunk.flow):
        monkeypatch.setattr(flow, "forward", lambda target, source, skip: [coarse])
    then, now = (network.see(frame) for frame in frames.unbind(1))
    torch.testing.assert_close(network.estimate(now, [then])[0], truth)
    torch.testing.assert_close(RefinementTask(trunk, FACTS).estimate(frames), truth)


@pytest.mark.parametrize("scale", ["unit", "bytes", "squared"])
def test_confidence_is_the_formula(scale):
    torch.manual_seed(0)
    image, warped = torch.rand(2, 3, 4, 6), torch.rand(2, 3, 4, 6)
    result = confidence(image, warped, scale)
    for b in range(2):
        D = [
            [sum(abs(image[b, c, y, x] - warped[b, c, y, x]).item() for c in range(3)) for x in range(6)]
            for y in range(4)
        ]
        D = [[255 * d if scale == "bytes" else d for d in row] for row in D]
        mean = sum(map(sum, D)) / 24
        sigma = math.sqrt(sum((d - mean) ** 2 for row in D for d in row) / 24)
        for y in range(4):
            for x in range(6):
                numerator = D[y][x] ** 2 if scale == "squared" else D[y][x]
                assert result[b, 0, y, x].item() == pytest.approx(math.exp(-numerator / (2 * sigma**2)), abs=1e-5)


def test_equal_images_are_trusted_fully():
    image = torch.rand(1, 3, 8, 8)
    assert (confidence(image, image) == 1).all()


@pytest.mark.parametrize(
    ("scale", "least", "most"), [("bytes", 0.6, 0.75), ("squared", 0.05, 0.15), ("unit", 0, 1e-30)]
)
def test_sensor_noise_leaves_the_context_on_in_bytes_alone(scale, least, most):
    """A still scene, each picture of it with noise of two grey levels."""
    torch.manual_seed(0)
    scene = 0.1 + 0.8 * torch.rand(1, 3, 241, 121)
    image, warped = (scene + 2 / 255 * torch.randn_like(scene) for _ in range(2))
    assert least <= confidence(image, warped, scale).median().item() <= most


def test_the_cleaner_the_pair_the_more_it_is_trusted():
    torch.manual_seed(0)
    scene, noise = torch.rand(1, 3, 64, 64), torch.randn(2, 1, 3, 64, 64) / 255
    medians = [confidence(scene + s * noise[0], scene + s * noise[1]).median().item() for s in (2.0, 1.0, 0.5, 0.1)]
    assert medians == sorted(medians)
    assert medians[-1] > 0.95


def test_squared_confidence_does_not_depend_on_the_range():
    image, warped = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(confidence(image, warped, "squared"), confidence(image / 2, warped / 2, "squared"))


def test_still_frames_and_a_mean_fusion_give_the_frame_parser_itself(monkeypatch):
    network = tcnet(fusion_start="mean", frame_level=False, confidence=None)
    monkeypatch.setattr(network, "estimate", lambda now, earlier: [torch.zeros(1, 2, *SIZE) for _ in earlier])
    now, fused = network(torch.rand(1, 1, 3, *SIZE).expand(1, 3, 3, *SIZE))
    torch.testing.assert_close(fused.scores, now.scores, atol=2e-4, rtol=1e-4)


def test_fusion_weighs_every_class_of_every_frame():
    fusion = PixelFusion(2, 3)
    scores = [torch.rand(1, 2, 1, 1) for _ in range(3)]
    weights = fusion.layers[-1].weight[:, :, 0, 0]
    expected = [
        sum(weights[k, 2 * t + c] * scores[t][0, c, 0, 0] for t in range(3) for c in range(2)) for k in range(2)
    ]
    torch.testing.assert_close(fusion(scores).flatten(), torch.stack(expected))
    start = torch.stack([PixelFusion(13, 3).layers[-1].weight for _ in range(20)])
    assert abs(start.mean()) < 0.03
    assert abs(start.std() - 1) < 0.03


@pytest.mark.parametrize("frames", [2, 3])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_fusion_of_any_depth_can_start_as_the_mean(layers, frames):
    fusion, scores = PixelFusion(5, frames, layers, "mean"), [30 * torch.randn(2, 5, 3, 4) for _ in range(frames)]
    fused = fusion(scores)
    torch.testing.assert_close(fused, torch.stack(scores).mean(0), atol=1e-5, rtol=1e-5)
    fused.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in fusion.parameters())
    units = fusion.layers[-1].weight.grad.flatten(2).abs().sum((0, 2))  # those that start unused can be taken up
    assert (units > 0).float().mean() > 0.7


def test_every_layer_of_the_fusion_starts_from_a_standard_gaussian():
    convs = [layer for layer in PixelFusion(13, 3, 3).layers if isinstance(layer, torch.nn.Conv2d)]
    for conv in convs:
        assert conv.weight.std().item() == pytest.approx(1, abs=0.1)
        assert conv.bias is None or not conv.bias.any()


@pytest.mark.parametrize("classes", [1, 4])
def test_presences_are_weighted_and_summed(classes):
    fusion, presences = FrameFusion(classes, 3), [torch.rand(2, 4) for _ in range(3)]
    expected = sum(w * p for w, p in zip(fusion.weights, presences, strict=True))
    torch.testing.assert_close(fusion(presences), expected)
    mean = FrameFusion(classes, 3, "mean")
    torch.testing.assert_close(mean(presences), torch.stack(presences).mean(0))


def test_the_class_loss_is_that_of_the_classes_present():
    network, frames = tcnet(class_loss=0.5), torch.rand(2, 3, 3, *SIZE)
    parts = torch.zeros(2, *SIZE, dtype=torch.long)
    parts[0, :4], parts[1, 5, 5], parts[1, 9] = 3, 2, 255
    losses = network.losses({"frames": frames, "parts": parts})
    f = network(frames)[1].presence
    present = torch.tensor([[1.0, 0, 0, 1, 0], [1, 0, 1, 0, 0]])
    expected = 0.5 * F.binary_cross_entropy(f.sigmoid(), present)
    torch.testing.assert_close(losses["classes"], expected, atol=1e-5, rtol=1e-4)


def test_the_losses_stand_to_each_other_as_the_papers_sums():
    network, frames = tcnet(frame_loss=0), torch.rand(2, 3, 3, *SIZE)
    parts = torch.randint(0, 4, (2, *SIZE))
    fused = network(frames)[1]
    L_seg = F.cross_entropy(fused.scores, parts, reduction="sum")
    present = torch.tensor([1.0, 1, 1, 1, 0]).expand(2, 5)
    L_cls = F.binary_cross_entropy_with_logits(fused.presence, present, reduction="sum")
    total = sum(network.losses({"frames": frames, "parts": parts}).values())
    torch.testing.assert_close(total, (L_seg + L_cls) / parts.numel(), atol=1e-5, rtol=1e-4)


def test_the_frame_parser_has_a_loss_of_its_own():
    network, frames = tcnet(frame_loss=0.5).eval(), torch.rand(2, 3, 3, *SIZE)
    parts = torch.randint(0, 5, (2, *SIZE))
    losses = network.losses({"frames": frames, "parts": parts})
    expected = 0.5 * F.cross_entropy(network(frames)[0].scores, parts)
    torch.testing.assert_close(losses["frame"], expected, atol=1e-5, rtol=1e-4)
    assert "frame" not in tcnet(frame_loss=0).losses({"frames": frames, "parts": parts})


@pytest.mark.parametrize(
    "options", [{}, {"offsets": [2]}, {"frame_level": False, "confidence": None}, {"fusion_layers": 3}]
)
def test_every_parameter_that_trains_has_a_gradient(options):
    network = tcnet(**options).train()
    frames = torch.rand(2, len(network.offsets) + 1, 3, *SIZE)
    parts = torch.randint(0, 5, (2, *SIZE))
    sum(network.losses({"frames": frames, "parts": parts}).values()).backward()
    missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    # of the flow, the coarser scales' own estimates feed the finest one; nothing is left out
    assert missing == []


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("offsets", [(3, 1), (2, 1), (1,), (3,)])
def test_the_buffer_gives_what_whole_clips_give(offsets, count):
    network, images = tcnet(offsets=offsets), [torch.rand(1, 3, *SIZE) for _ in range(count)]
    with torch.inference_mode():
        streamed = list(network.stream_scores(iter(images)))
        for t, scores in enumerate(streamed):
            if t < max(offsets):
                expected = network.see(images[t]).scores
            else:
                expected = network(torch.stack([images[t - o] for o in (*offsets, 0)], 1))[1].scores
            torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert len(streamed) == count


def test_the_buffer_computes_each_frame_once(monkeypatch):
    network, seen = tcnet(), []
    see = network.see
    monkeypatch.setattr(network, "see", lambda image: seen.append(1) or see(image))
    with torch.inference_mode():
        list(network.stream_scores(torch.rand(9, 1, 3, *SIZE)))
    assert len(seen) == 9


def test_the_first_frames_of_a_tracklet_are_parsed_by_themselves():
    network, frames = tcnet(), torch.rand(2, 3, 3, *SIZE)
    offsets = torch.tensor([[-3, -1, 0], [-2, -1, 0]])  # the second lacks a frame
    boxes = [Letterbox.stretch(SIZE, SIZE)] * 2
    with torch.inference_mode():
        parsings = network.parse({"frames": frames, "offsets": offsets}, boxes)
        now, fused = network(frames)
    assert torch.equal(parsings[0]["parts"], fused.scores[0].argmax(0))
    assert torch.equal(parsings[1]["parts"], now.scores[1].argmax(0))


@pytest.mark.process
def test_refinement_reconstructs_better_and_comes_closer_to_the_truth():
    """A smooth scene that moves by (3, 0) pixels; nothing but the images is told."""
    torch.manual_seed(0)
    scene = F.interpolate(torch.rand(2, 3, 9, 9), (80, 80), mode="bicubic").clamp(0, 1)
    now, then = scene[..., 8:65, 16:49], scene[..., 8:65, 13:46]  # p of now lies at p + (3, 0)
    truth = torch.tensor([3.0, 0.0]).view(1, 1, 2, 1, 1).expand(2, 1, 2, *SIZE)
    batch = {"frames": torch.stack([then, now], 1), "flow": truth, "index": [0, 1]}
    task = RefinementTask(small_networks.build(small_networks.trunk_flow()), FACTS)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    metrics = []
    for step in range(60):
        loss = sum(task.losses(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (0, 59):
            with torch.no_grad():
                task._score(batch, task.val_metrics)
            metrics.append(task.val_metrics.compute())
            task.val_metrics.reset()
    first, last = metrics
    assert last["reconstruction"] < 0.5 * first["reconstruction"]
    assert last["epe"] < 0.5 * first["epe"]
