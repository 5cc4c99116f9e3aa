"""The category-level module of the Holistic Instance CRF."""

import timm
import torch
from torch import nn

from partwise.nn.pyramid import PyramidParser


def test_521_pixels_are_66_of_the_feature_and_come_back():
    with torch.device("meta"):
        model = PyramidParser(7, pretrained="none").eval().to("meta")
        images = torch.empty(1, 3, 521, 521)
        assert model.backbone(images)[1].shape == (1, 2048, 66, 66)
        assert model.logits(images).shape == (1, 7, 521, 521)
        assert model.join[0].in_channels == 4096
    dilations = [
        {m.dilation[0] for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
        for stage in (model.backbone.body.layer2, model.backbone.body.layer3, model.backbone.body.layer4)
    ]
    assert dilations == [{1}, {2}, {4}]


def test_batch_norms_of_a_pretrained_trunk_are_left_as_they_are(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "weights.pth")
    model = PyramidParser(3, "resnet18", width=8, weights=str(tmp_path / "weights.pth")).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    batch = {"images": torch.rand(2, 3, 33, 33), "parts": torch.randint(3, (2, 33, 33))}
    model.losses(batch)["parsing"].backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if ".bn" in name]
    assert "backbone.body.conv1.weight" in changed
    assert "classifier.weight" in changed
