import pytest
import timm
import torch
import torch.nn.functional as F

from partwise.errors import InputError
from partwise.nn.deeplab_v2_resnet import DeepLabV2ResNet
from partwise.nn.losses import score_map_loss


@pytest.fixture
def pretrained(tmp_path):
    """A network whose backbone has initial weights: random ones on disk, with no gamma of zero, as trained ones."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    for value in state.values():
        if value.ndim == 1:
            value.uniform_(0.5, 1.5)
    torch.save(state, tmp_path / "weights.pth")
    return DeepLabV2ResNet(3, 33, "resnet18", weights=str(tmp_path / "weights.pth"))


def tiny(num_classes=3, size=65):
    torch.manual_seed(0)
    return DeepLabV2ResNet(num_classes, size, "resnet18", "none", 0.25)


def test_321_pixels_are_41_of_the_scores_and_come_back():
    with torch.device("meta"):
        model = DeepLabV2ResNet(7, pretrained="none").eval().to("meta")
        images = torch.empty(1, 3, 321, 321)
        res5 = model.backbone(images)[1]
        assert res5.shape == (1, 2048, 41, 41)
        assert model.parsing(res5).shape == (1, 7, 41, 41)
        assert model.logits(images).shape == (1, 7, 321, 321)
    assert [(m.in_channels, m.out_channels, m.kernel_size, m.dilation[0]) for m in model.parsing.branches] == [
        (2048, 7, (3, 3), dilation) for dilation in (6, 12, 18, 24)
    ]


def test_dilations_reach_as_far_relative_to_the_input():
    assert [m.dilation[0] for m in tiny(size=(161, 81)).parsing.branches] == [3, 6, 9, 12]


@pytest.mark.parametrize("size", [(65, 33), (50, 71), (16, 8)])
def test_logits_have_the_size_of_any_picture(size):
    model = tiny().eval()
    images = torch.rand(2, 3, *size)
    logits = model.logits(images)
    assert logits.shape == (2, 3, *size)
    res5 = model.backbone(images)[1]
    scores = torch.stack([branch(res5) for branch in model.parsing.branches]).sum(0)
    torch.testing.assert_close(logits, F.interpolate(scores, size, mode="bilinear", align_corners=True))


def test_training_moves_all_but_pretrained_batch_norms(pretrained):
    pretrained.eval().train()
    before = {name: value.clone() for name, value in pretrained.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in pretrained.parameters() if p.requires_grad], 0.01)
    given = {"images": torch.rand(2, 3, 33, 33), "parts": torch.randint(3, (2, 33, 33))}
    pretrained.losses(given)["parsing"].backward()
    optimizer.step()
    norms = {name.rpartition(".")[0] for name in before if name.endswith("running_mean")}
    assert len(norms) == 20
    same = {name for name, value in pretrained.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.rpartition(".")[0] in norms}
    images = torch.rand(1, 3, 33, 33)
    assert torch.equal(pretrained.logits(images), pretrained.eval().logits(images))


def test_labels_are_those_of_every_eighth_pixel():
    torch.manual_seed(0)
    scores, parts = torch.randn(2, 3, 9, 5), torch.randint(3, (2, 65, 33))
    parts[0, :32] = 255
    expected = F.cross_entropy(scores, parts[:, ::8, ::8], ignore_index=255)
    torch.testing.assert_close(score_map_loss(scores, parts), expected)
    assert score_map_loss(scores, torch.full_like(parts, 255)) == 0
    corners = score_map_loss(scores[:, :, :2, :2], parts[:, :7, :4])  # any other size: corners onto corners
    torch.testing.assert_close(
        corners, F.cross_entropy(scores[1:, :, :2, :2], parts[1:, :7, :4][:, [0, 6]][:, :, [0, 3]])
    )


@pytest.mark.process
def test_it_learns_one_batch_from_scratch_with_all_its_parameters():
    model = tiny()
    images, parts = torch.rand(2, 3, 65, 65) * 0.3, torch.zeros(2, 65, 65, dtype=torch.long)
    parts[:, 20:45, :36], parts[:, 20:45, 36:], parts[:, :4] = 1, 2, 255
    images[:, 0] += 0.6 * (parts == 1)
    images[:, 2] += 0.6 * (parts == 2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.losses({"images": images, "parts": parts})["parsing"]
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.parameters())
    found, parts = (x[..., ::8, ::8] for x in (model.eval().logits(images).argmax(1), parts))
    assert (found == parts)[parts != 255].float().mean() > 0.9


def test_other_backbones_are_refused():
    with pytest.raises(InputError, match="is no ResNet"):
        DeepLabV2ResNet(3, backbone="convnext_atto", pretrained="none")
