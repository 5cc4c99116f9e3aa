import pytest
import torch
import torch.nn.functional as F
from torch import nn

from partwise.nn.attention_to_scale import AttentionToScale, fuse

TINY = {"pretrained": "none", "width": 16, "backbone_multiplier": 0.125}


def network(norm=False, image_size=65, num_classes=4):
    torch.manual_seed(0)
    return AttentionToScale(num_classes, image_size, norm=norm, **TINY)


def batch():
    """Two pictures with parts of different colours."""
    torch.manual_seed(0)
    images, parts = torch.rand(2, 3, 65, 65) * 0.3, torch.zeros(2, 65, 65, dtype=torch.long)
    parts[:, 20:45, :36], parts[:, 20:45, 36:], parts[:, :4] = 1, 2, 255
    images[:, 0] += 0.6 * (parts == 1)
    images[:, 2] += 0.6 * (parts == 2)
    return {"images": images, "parts": parts}


def test_321_pixels_at_the_papers_size():
    with torch.device("meta"):
        model = AttentionToScale(7, pretrained="none").eval().to("meta")
        images = torch.empty(1, 3, 321, 321)
        scores, weights = model.attend(images)
        assert [f.shape for f in scores] == [(1, 7, n, n) for n in (41, 31, 21)]
        assert weights.shape == (1, 3, 41, 41)
        assert model.logits(images).shape == (1, 7, 321, 321)
    convolutions = [m for part in (model.hidden, model.attention) for m in part.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.dilation[0]) for m in convolutions] == [
        (512, 1024, 3, 12), (1024, 1024, 1, 1), (3072, 512, 3, 1), (512, 3, 1, 1),
    ]  # fmt: skip


def test_the_dilation_reaches_as_far_relative_to_the_input():
    def dilation(size):
        return network(image_size=size).hidden[0][0].dilation

    assert [dilation(size) for size in (641, (320, 200), (161, 81), 16)] == [(12, 12), (12, 12), (6, 6), (1, 1)]


@pytest.mark.parametrize("size", [(65, 33), (50, 71), (16, 8), (1, 1)])
def test_logits_have_the_size_of_any_picture(size):
    model = network().eval()
    assert model.logits(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_weights_sum_to_one_and_differ_between_pixels():
    model = network().eval()
    nn.init.normal_(model.attention[1].weight)
    _, weights = model.attend(torch.rand(2, 3, 65, 49))
    assert weights.shape == (2, 3, 9, 7)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 9, 7))
    assert weights.std((2, 3)).min() > 1e-4


def test_fused_scores_are_the_weighted_sum_of_each_pixel():
    """On one row: scores at 0 and 2 lie, corners on corners, at 0, 1 and 2."""
    fine, coarse = (
        torch.tensor([[[[1.0, 2.0, 3.0]], [[0.0, 0.0, 6.0]]]]),
        torch.tensor([[[[10.0, 20.0]], [[0.0, 4.0]]]]),
    )
    weights = torch.tensor([[[[1.0, 0.5, 0.25]], [[0.0, 0.5, 0.75]]]])
    expected = [[1.0, 0.5 * 2 + 0.5 * 15, 0.25 * 3 + 0.75 * 20], [0.0, 0.5 * 0 + 0.5 * 2, 0.25 * 6 + 0.75 * 4]]
    assert fuse([fine, coarse], weights)[0, :, 0].tolist() == expected


def test_logits_are_the_fused_scores_of_resized_pictures():
    """Written out with loops, from the network's parts; 65 pixels are 49 and 33 at the smaller scales."""
    model = network().eval()
    for conv in (model.classifier, model.attention[1]):
        nn.init.normal_(conv.weight)
    images = torch.rand(1, 3, 65, 65)

    def resize(x, side):
        return F.interpolate(x, (side, side), mode="bilinear", align_corners=True)

    fc7 = []
    for side in (65, 49, 33):
        conv5 = model.trunk(resize(images, side))[1]
        fc7.append(model.hidden(F.max_pool2d(conv5, 3, 1, 1)))
    votes = model.attention(torch.cat([resize(x, 9) for x in fc7], 1))
    expected = torch.zeros(1, 4, 9, 9)
    for s, x in enumerate(fc7):
        weight = votes[:, s].exp() / votes.exp().sum(1)
        expected += weight[:, None] * resize(model.classifier(x), 9)
    torch.testing.assert_close(model.logits(images), resize(expected, 65))


def test_every_scale_has_its_loss_at_its_own_size():
    model, given = network().eval(), batch()
    losses = model.losses(given)
    assert list(losses) == ["parsing", "scale_1", "scale_0.75", "scale_0.5"]
    scores, weights = model.attend(given["images"])
    for name, f in zip(losses, [fuse(scores, weights), *scores], strict=True):
        grid = torch.linspace(0, 64, f.shape[-1]).round().long()
        target = given["parts"][:, grid][:, :, grid]
        assert (target == 255).any()
        torch.testing.assert_close(losses[name], F.cross_entropy(f, target, ignore_index=255))
    nothing = model.losses({**given, "parts": torch.full_like(given["parts"], 255)})
    assert sum(nothing.values()) == 0


@pytest.mark.process
@pytest.mark.parametrize("norm", [False, True])
def test_it_learns_one_batch_with_all_its_parameters(norm):
    model, given = network(norm), batch()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        optimizer.zero_grad()
        sum(model.losses(given).values()).backward()
        if step == 0:
            assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
        optimizer.step()
    found, parts = (x[..., ::8, ::8] for x in (model.eval().logits(given["images"]).argmax(1), given["parts"]))
    assert (found == parts)[parts != 255].float().mean() > 0.9
