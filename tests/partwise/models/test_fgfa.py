"""FGFA: its weights against the formula, and its stream against the definition."""

import pytest
import small_networks
import torch


def fgfa(reach=2):
    return small_networks.build(small_networks.fgfa(reach)).eval()


def by_definition(network, images, features, t):
    """sum_j w_j f_j with w the softmax of cosines, neighbour by neighbour."""
    target, own = images[t], network.embedding(features[t])
    warped, alike = [], []
    for j in range(t - network.reach, t + network.reach + 1):
        near = min(max(j, 0), len(images) - 1)
        feature = network._warp(features[near], target, images[near])
        warped.append(feature)
        embedded = network.embedding(feature)
        alike.append((embedded * own).sum(1) / (embedded.norm(dim=1) * own.norm(dim=1)))
    total = sum(torch.exp(a) for a in alike)
    return sum(f * (torch.exp(a) / total)[:, None] for f, a in zip(warped, alike, strict=True))


def test_the_stream_follows_the_formula():
    network, images = fgfa(), [torch.rand(1, 3, 64, 64) for _ in range(8)]
    with torch.inference_mode():
        features = [network.feature(image) for image in images]
        for count in (1, 2, 3, 5, 8):
            streamed = list(network.stream_features(iter(images[:count])))
            assert len(streamed) == count
            for t, feature in enumerate(streamed):
                expected = by_definition(network, images[:count], features, t)
                torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-4)


def test_a_clip_of_all_neighbours_equals_the_stream():
    network, images = fgfa(), [torch.rand(1, 3, 64, 64) for _ in range(5)]
    with torch.inference_mode():
        clip = torch.stack([*images, images[2]], 1)
        expected = list(network.stream_features(iter(images)))[2]
        offsets = torch.tensor([[-2, -1, 0, 1, 2, 0]])
        torch.testing.assert_close(network(clip, offsets), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("around", [[-2, -1, 0, 1, 2], [0, 0, 0, 1, 2]], ids=["inside", "at the start"])
def test_evaluation_computes_the_feature_of_each_frame_once(around):
    network, video = fgfa(), torch.rand(2, 5, 3, 64, 64)
    offsets = torch.tensor([[*around, 0], [-2, -1, 0, 1, 2, 0]])
    clips = torch.stack([clip[row + 2] for clip, row in zip(video, offsets, strict=True)])
    seen = []
    network.feature.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    with torch.inference_mode():
        found = network(clips, offsets)
        for b in range(2):
            own, others = network.feature(clips[b, -1:]), [network.feature(f[None]) for f in clips[b, :-1]]
            expected = network.aggregate(others, [f[None] for f in clips[b, :-1]], own, clips[b, -1:])
            torch.testing.assert_close(found[b : b + 1], expected, atol=1e-5, rtol=1e-4)
    assert seen[0] == len({*around}) + 5


def test_every_parameter_takes_part_in_every_step():
    network = fgfa().train()
    frames, parts = torch.rand(2, 3, 3, 64, 64), torch.randint(0, 20, (2, 64, 64))
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    instances[:, 8:56, 8:40] = 1
    batch = {"frames": frames, "offsets": torch.zeros(2, 3), "parts": parts, "instances": instances}
    sum(network.losses(batch).values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
