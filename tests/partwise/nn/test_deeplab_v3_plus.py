from copy import deepcopy

import pytest
import timm
import torch
import torch.nn.functional as F

from partwise.labels import FOREGROUND
from partwise.models.contract import Network
from partwise.nn.backbone import Backbone, FrozenStatistics, add_input_channels
from partwise.nn.deeplab_v3_plus import DeepLabV3Plus
from partwise.ops.resize import Letterbox


def tiny(**options):
    torch.manual_seed(0)
    return DeepLabV3Plus(FOREGROUND.num_classes, "resnet18", "none", 16, 8, 64, 0.25, **options)


def batch(images, parts):
    return {"images": images, "parts": parts, "index": [0, 1], "sample_ids": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "low_channels"), [("xception71.tf_in1k", 256), ("resnet50", 256), ("resnet101.a1h_in1k", 256)]
)
def test_paper_sizes(name, low_channels):
    """ASPP at stride 16 and the low-level feature at stride 4 of the names that timm has."""
    assert name in timm.list_pretrained() or timm.is_model(name)
    with torch.device("meta"):
        model = DeepLabV3Plus(backbone=name, pretrained="none").eval().to("meta")
        low, last = model.backbone(torch.empty(1, 3, 512, 384))
        assert low.shape == (1, low_channels, 128, 96)
        assert last.shape == (1, 2048, 32, 24)
        assert model.encoder(last).shape == (1, 256, 32, 24)
        assert model.low(low).shape == (1, 48, 128, 96)
        assert model.logits(torch.empty(1, 3, 512, 384)).shape == (1, 2, 512, 384)
    assert [branch[0].dilation[0] for branch in model.encoder[0].branches] == [1, 6, 12, 18]
    assert [m.p for m in model.modules() if type(m) is torch.nn.Dropout] == [0.5, 0.5, 0.1]


def test_it_is_a_dense_parser_of_foreground():
    model = tiny().eval()
    assert isinstance(model, Network)
    images = torch.rand(2, 3, 64, 64)
    letterbox = Letterbox.fit((40, 80), 64)
    parsed = model.parse(batch(images, torch.zeros(2, 64, 64, dtype=torch.long)), [letterbox] * 2)
    streamed = list(model.stream(images.split(1), letterbox))
    assert [p["parts"].shape for p in parsed] == [(40, 80)] * 2
    assert all(torch.equal(a["parts"], b["parts"]) for a, b in zip(parsed, streamed, strict=True))


def test_loss_is_the_cross_entropy_of_the_logits_without_ignored_pixels():
    model = tiny().eval()
    images, parts = torch.rand(2, 3, 64, 64), torch.randint(2, (2, 64, 64))
    parts[:, :9] = 255
    expected = F.cross_entropy(model.logits(images), parts, ignore_index=255)
    torch.testing.assert_close(model.losses(batch(images, parts))["parsing"], expected)


@pytest.mark.parametrize("backbone", ["resnet18", "xception41"])
def test_gradient_reaches_every_trainable_parameter(backbone):
    torch.manual_seed(0)
    model = DeepLabV3Plus(2, backbone, "none", 16, 8, 64, dropout=(0, 0, 0), in_channels=5)
    images, parts = torch.rand(2, 5, 64, 64), torch.randint(2, (2, 64, 64))
    for parameter in model.parameters():  # the last gamma of timm's residual blocks begins at 0
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.losses(batch(images, parts))["parsing"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("name", ["resnet18", "xception41", "swin_tiny_patch4_window7_224"])
def test_new_input_channels_change_nothing_at_first(name):
    models = []
    for channels in (3, 8):
        torch.manual_seed(0)
        models.append(Backbone(name, "none", in_channels=channels, low="res2").eval())
    rgb, wide = models
    images, skeletons = torch.rand(1, 3, 64, 64), 5 * torch.rand(1, 5, 64, 64)
    for expected, found in zip(rgb(images), wide(torch.cat([images, skeletons], 1)), strict=True):
        torch.testing.assert_close(found, expected)
    first = next(m for m in wide.modules() if isinstance(m, torch.nn.Conv2d))
    assert torch.equal(first.weight[:, :3], next(m for m in rgb.modules() if isinstance(m, torch.nn.Conv2d)).weight)
    torch.nn.init.normal_(first.weight[:, 3:])
    assert not torch.allclose(wide(torch.cat([images, skeletons], 1))[1], rgb(images)[1])


def test_whole_network_with_skeletons_starts_where_the_one_without_is():
    seg = tiny().eval()
    pose2seg = tiny(in_channels=20).eval()
    images, skeletons = torch.rand(1, 3, 64, 64), torch.rand(1, 17, 64, 64)
    torch.testing.assert_close(pose2seg.logits(torch.cat([images, skeletons], 1)), seg.logits(images))
    body = deepcopy(seg.backbone.body)
    add_input_channels(body, 2)
    add_input_channels(body, 15)
    pose2seg.backbone.body.load_state_dict(body.state_dict())
    torch.testing.assert_close(pose2seg.logits(torch.cat([images, skeletons], 1)), seg.logits(images))


def test_pretrained_weights_stay_and_their_statistics_are_frozen(tmp_path):
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    model = DeepLabV3Plus(2, "resnet18", "none", 16, 8, 64, in_channels=4, weights=str(tmp_path / "weights.pth"))
    body = model.backbone.body
    assert torch.equal(body.conv1.weight[:, :3], state["conv1.weight"])
    assert not body.conv1.weight[:, 3:].any()
    assert isinstance(body.bn1, FrozenStatistics)


@pytest.mark.process
def test_it_learns_foreground():
    model = tiny(dropout=(0.1, 0.1, 0.1))
    images, parts = torch.rand(2, 3, 64, 64) * 0.3, torch.zeros(2, 64, 64, dtype=torch.long)
    parts[0, 16:50, 10:40], parts[1, 8:40, 24:60], parts[:, :4] = 1, 1, 255
    images += 0.5 * (parts == 1)[:, None]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.losses(batch(images, parts))["parsing"].backward()
        optimizer.step()
    found = model.eval().logits(images).argmax(1)
    assert (found == parts)[parts != 255].float().mean() > 0.95
