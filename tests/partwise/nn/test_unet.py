"""The U-Net: shapes, layers as in pix2pix, gradients, and sizes that do not fit."""

import pytest
import torch
from torch import nn

from partwise.nn.unet import UNet


def test_the_default_is_pix2pixs_unet_256():
    with torch.device("meta"):
        net = UNet(9, 6)
    down = [conv.out_channels for conv in net.modules() if type(conv) is nn.Conv2d]
    assert down == [64, 128, 256, 512, 512, 512, 512, 512]
    up = [(conv.in_channels, conv.out_channels) for conv in net.modules() if isinstance(conv, nn.ConvTranspose2d)]
    assert up[::-1] == [
        (512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 6),
    ]  # fmt: skip
    with_dropout = [n for n, up in enumerate(net.ups) if any(isinstance(layer, nn.Dropout) for layer in up.modules())]
    assert with_dropout == [4, 5, 6]
    norms = [layer for layer in net.modules() if isinstance(layer, nn.InstanceNorm2d)]
    assert len(norms) == 6 + 7
    assert not any(norm.affine for norm in norms)
    assert net(torch.empty(1, 9, 256, 256, device="meta")).shape == (1, 6, 256, 256)


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_any_depth_keeps_the_size_and_trains_every_weight(depth):
    torch.manual_seed(0)
    net = UNet(4, 3, depth, width=4)
    x = torch.rand(2, 4, 64, 128, requires_grad=True)
    out = net(x)
    assert out.shape == (2, 3, 64, 128)
    out.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in net.named_parameters() if name.endswith("weight"))


def test_weights_start_small():
    net = UNet(4, 3, depth=4, width=16)
    weights = torch.cat([p.flatten() for name, p in net.named_parameters() if name.endswith("weight")])
    assert abs(weights.std() - 0.02) < 1e-3
    assert all((p == 0).all() for name, p in net.named_parameters() if name.endswith("bias"))


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match=r"\(48, 64\) are no multiples of 32"):
        UNet(4, 3, depth=5, width=2)(torch.rand(1, 4, 48, 64))
