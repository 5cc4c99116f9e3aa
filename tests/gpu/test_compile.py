"""`compile=true`: a network of every family trains compiled as it does otherwise."""

from functools import partialmethod

import pytest
import torch
from torch import nn

NAMES = ["parsing_rcnn_vip", "aten_vip", "fgfa_vip", "tcnet_indoor", "netwarp_flownet_facts", "flownet_s_chairs",
         "deeplab_ccp"]  # fmt: skip
LOSS = 2e-3  # of the first step, as a share: kernels that are joined round otherwise


@pytest.mark.process  # the compiler's workers
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_compiled(name, device, train, monkeypatch):
    torch._dynamo.reset()
    if device.type == "cpu":  # to try the test out: a C++ compiler would take minutes
        monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    plain, _ = train(name, device, steps=1)
    compiled, moved = train(name, device, steps=1, overrides=["compile=true"])
    assert compiled.losses[0].item() == pytest.approx(plain.losses[0].item(), rel=LOSS)
    assert any(moved.values())
