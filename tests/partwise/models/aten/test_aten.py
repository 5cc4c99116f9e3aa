"""ATEN against its equations: propagation, encoding, Algorithm 1, and the models it contains."""

import pytest
import small_networks
import torch
import torch.nn.functional as F

from data_modules.synthetic.render.renderer import Occlusion, Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.models.aten.model import Coarse
from partwise.nn.conv_gru import Mean
from partwise.ops.flow import resize_flow, warp
from partwise.ops.key_frames import memory, segments
from partwise.ops.resize import Letterbox

GRU, LSTM = ({"_target_": f"partwise.nn.conv_gru.{name}", "channels": 8} for name in ("ConvGRU", "ConvLSTM"))
MEAN = {"_target_": "partwise.nn.conv_gru.Mean"}
COARSE = {"_target_": "partwise.models.aten.model.Coarse", "encoder": GRU, "stride": 4}


def aten(**options):
    return small_networks.build(small_networks.aten(**options)).eval()


def set_flow(network, monkeypatch, flow):
    """Make the flow network answer (dx, dy) everywhere, with unit scale."""
    one = torch.tensor(flow).view(1, 2, 1, 1)

    def answer(target, source):
        shape = len(target), target.shape[-2] // 4, target.shape[-1] // 4
        return one.expand(shape[0], 2, *shape[1:]), torch.ones(shape[0], 8, *shape[1:])

    monkeypatch.setattr(network.flow, "forward", answer)


def test_zero_flow_and_unit_scale_are_the_identity(monkeypatch):
    network, feature, images = aten(), torch.rand(2, 8, 16, 16), torch.rand(2, 3, 64, 64)
    set_flow(network, monkeypatch, (0.0, 0.0))
    torch.testing.assert_close(network.propagate(feature, images, images), feature, atol=2e-4, rtol=0)


def test_a_shift_moves_the_feature_in_its_own_pixels(monkeypatch):
    network, feature, images = aten(), torch.rand(1, 8, 16, 16), torch.rand(1, 3, 64, 64)
    set_flow(network, monkeypatch, (2.0, -1.0))
    moved = network.propagate(feature, images, images)
    torch.testing.assert_close(moved[..., 1:, :-2], feature[..., :-1, 2:], atol=2e-4, rtol=0)
    assert moved[..., 0, :].abs().max() < 1e-6


def test_the_scale_starts_at_one_and_its_bias_stays():
    network, image = aten(), torch.rand(1, 3, 64, 64)
    _, scale = network.flow(image, torch.rand(1, 3, 64, 64))
    assert (scale == 1).all()
    assert not network.flow.scale.bias.requires_grad


def test_flow_counts_feature_pixels():
    network, a, b = aten(), torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    raw = network.flow.net(a, b)[0][0]
    torch.testing.assert_close(network.flow(a, b)[0], 20 / 4 * raw)  # a twentieth of input pixels, four to a feature's
    torch.testing.assert_close(aten(flow={"unit": 20.0}).flow(a, b)[0], 20 * raw)  # the release


def test_flow_of_half_size_images_tells_the_same_pixels(monkeypatch):
    """It always sees 4 pixels of what it is given: 4 / 4 of the feature's, from halved images 8 / 4."""
    for size, expected in ((1.0, 1.0), (0.5, 2.0)):
        network = aten(flow={"size": size})

        def sees_four(target, source, network=network):
            grid = target.shape[-2] // 4, target.shape[-1] // 4
            return [torch.full((len(target), 2, *grid), 4 / 20)], torch.rand(
                len(target), network.flow.net.top_channels, *grid
            )

        monkeypatch.setattr(network.flow.net, "forward", sees_four)
        M, S = network.flow(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
        torch.testing.assert_close(M, torch.full((1, 2, 16, 16), expected))
        assert S.shape == (1, 8, 16, 16)


def test_a_coarse_encoder_adds_its_change_to_the_current_feature():
    features = [torch.rand(1, 4, 8, 8) for _ in range(3)]
    same = Coarse(Last(), 4)
    torch.testing.assert_close(same(features), features[-1])
    flat = [f.mean((2, 3), keepdim=True).expand_as(f) for f in features]  # pooling loses nothing
    torch.testing.assert_close(Coarse(Mean(), 4)(flat), Mean()(flat))


class Last(torch.nn.Module):
    def forward(self, features):
        return features[-1]


@pytest.mark.parametrize("seed", range(4))
def test_the_true_flow_carries_features(seed):
    """Features that are local means of the image: outside occlusions the carried one is the target's."""
    renderer = Renderer(draw_scene(seed, frames=13, severity=0))
    flow, occlusion = renderer.flow(2, 10)
    images = [torch.from_numpy(renderer.clean(t)).permute(2, 0, 1)[None].float() / 255 for t in (2, 10)]
    target, source = (F.avg_pool2d(i, 4) for i in images)
    carried = warp(source, resize_flow(torch.from_numpy(flow)[None], target.shape[-2:]))
    # A feature pixel is judged where it moves and no pixel that it sees is hidden.
    hidden = torch.from_numpy(occlusion != Occlusion.VISIBLE).float()[None, None]
    hidden = F.max_pool2d(hidden, 12, 4, 4)[..., : target.shape[-2], : target.shape[-1]] > 0
    moves = F.avg_pool2d(torch.from_numpy(flow)[None], 4).norm(dim=1, keepdim=True) > 4
    judged = moves & ~hidden
    error = (carried - target).abs().mean(1, keepdim=True)[judged].mean()
    still = (source - target).abs().mean(1, keepdim=True)[judged].mean()
    assert error < 0.04
    assert error < 0.6 * still


def by_definition(network, images, own):
    """Algorithm 1 from the images and their own features, with everything else computed anew for each frame."""
    length, features = network.key_interval, []
    parts = segments(len(images), length, network.centred)
    keys = [part.key for part in parts]
    for t, image in enumerate(images):
        chosen = memory(keys, t // length, network.encoding_range, network.centred)
        others = [own[k] for k in chosen[:-1]]
        if network.align:
            others = [network.propagate(f, images[chosen[-1]], images[k]) for f, k in zip(others, chosen, strict=False)]
        encoded = network.encoder([*others, own[chosen[-1]]])
        features.append(encoded if t == chosen[-1] else network.propagate(encoded, image, images[chosen[-1]]))
    return features


@pytest.mark.parametrize(
    "options",
    [{}, {"key_interval": 4, "encoding_range": 1}, {"centred": False}, {"key_interval": 5, "encoding_range": 0},
     {"align": False}, {"encoder": LSTM}, {"encoder": MEAN}, {"key_interval": 1},
     {"encoder": COARSE, "flow": {"size": 0.5}}],
)  # fmt: skip
def test_the_stream_equals_the_whole_video(options):
    network, images = aten(**options), [torch.rand(1, 3, 64, 64) for _ in range(13)]
    with torch.inference_mode():
        own = [network.feature(image) for image in images]
        for count in (1, 2, 4, 7, 13):
            streamed = list(network.stream_features(iter(images[:count])))
            expected = by_definition(network, images[:count], own)
            assert len(streamed) == count
            assert all(torch.equal(a, b) for a, b in zip(streamed, expected, strict=True)), count


@pytest.mark.parametrize(("centred", "ahead"), [(True, 9), (False, 3)])
def test_the_stream_reads_only_as_far_ahead_as_it_must(centred, ahead):
    network, read = aten(centred=centred), 0

    def images():
        nonlocal read
        for _ in range(60):
            read += 1
            yield torch.zeros(1, 3, 64, 64)

    with torch.inference_mode():
        for done, _ in enumerate(network.stream_features(images()), 1):
            assert read - done < ahead


def test_each_key_frame_is_computed_once(monkeypatch):
    network, calls = aten(), 0
    plain = network.feature.forward

    def counted(images):
        nonlocal calls
        calls += 1
        return plain(images)

    monkeypatch.setattr(network.feature, "forward", counted)
    with torch.inference_mode():
        assert len(list(network.stream_features(torch.zeros(1, 3, 64, 64) for _ in range(20)))) == 20
    assert calls == 7


def test_alone_it_is_the_frame_model():
    network = aten(key_interval=1, encoding_range=0)
    frame = small_networks.build(small_networks.parsing_rcnn()).eval()
    frame.feature.load_state_dict(network.feature.state_dict())
    frame.heads.load_state_dict(network.heads.state_dict())
    images, boxes = [torch.rand(1, 3, 64, 64) for _ in range(3)], [Letterbox.fit((64, 64), 64)]
    with torch.inference_mode():
        for image, feature in zip(images, network.stream_features(iter(images)), strict=True):
            assert torch.equal(feature, frame.feature(image))
            assert torch.equal(
                network.heads.parse(feature, boxes)[0]["parts"], frame.parse({"images": image}, boxes)[0]["parts"]
            )


def test_a_clip_whose_target_is_the_key_frame_takes_its_encoding():
    network, frames = aten(), torch.rand(2, 4, 3, 64, 64)
    frames[0, 3] = frames[0, 2]
    offsets = torch.tensor([[-6, -3, 0, 0], [-7, -4, -1, 0]])
    with torch.inference_mode():
        feature = network(frames, offsets)
        keys = list(frames.unbind(1))[:3]
        encoded = network.encode([network.feature(k) for k in keys], keys)
        carried = network.propagate(encoded, frames[:, 3], frames[:, 2])
    torch.testing.assert_close(feature[0], encoded[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(feature[1], carried[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("offset", [0, -1])
def test_every_parameter_takes_part_in_every_step(offset):
    network = aten().train()
    frames, parts = torch.rand(2, 4, 3, 64, 64), torch.randint(0, 20, (2, 64, 64))
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    instances[:, 8:56, 8:40] = 1
    offsets = torch.tensor([[offset - 6, offset - 3, offset, 0]] * 2)
    batch = {"frames": frames, "offsets": offsets, "parts": parts, "instances": instances}
    sum(network.losses(batch).values()).backward()
    missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_without_persons_there_are_parts_only():
    network = aten(frame={"persons": False})
    batch = {"frames": torch.rand(1, 4, 3, 64, 64), "offsets": torch.tensor([[-6, -3, 0, 0]]),
             "parts": torch.zeros(1, 64, 64, dtype=torch.int64)}  # fmt: skip
    assert set(network.losses(batch)) == {"parsing"}
    (parsing,) = network.parse(batch, [Letterbox.fit((48, 64), 64)])
    assert parsing["parts"].shape == (48, 64)
    assert "persons" not in parsing
