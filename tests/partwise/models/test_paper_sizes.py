"""Every network at the paper's size on tensors without numbers: its shapes fit, and no step waits for a number."""

from contextlib import nullcontext
from functools import cache

import pytest
import torch
from composing import EXPERIMENTS, POSED
from torch import Tensor
from torch.overrides import TorchFunctionMode

from partwise import labels
from partwise.models.flow_task import FlowTask
from partwise.nn.parsing_rcnn import ParsingHeads
from partwise.run import cli
from partwise.run.build import make_task

NAMES = sorted(cli.experiments(EXPERIMENTS).keys() - POSED)
#: What selects by the labels, matches or computes elsewhere, and so cannot do without numbers.
NEEDS_NUMBERS = {
    "deeplab_ccp": "lovasz",
    "deeplab_folder": "lovasz",
    "em_adapt_facts": "classes",
    "netwarp_dis_facts": "DIS",
    "instance_crf_ppp": "persons",
    "instance_crf_vip": "persons",
    "instance_crf_cihp": "persons",
    "parsing_rcnn_cihp": "persons",
    "parsing_rcnn_ppp": "persons",
}


class FromHost(TorchFunctionMode):
    """Collects calls that copy numbers from the host to the device, which waits for them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = getattr(function, "__name__", str(function))
        new = name in ("new_tensor", "as_tensor", "tensor") and str(options.get("device", "")) == "meta"
        new |= name == "new_tensor" and arguments[0].device.type == "meta"
        index = arguments[1] if name == "__getitem__" and arguments[0].device.type == "meta" else ()
        if new or any(isinstance(i, list) for i in (index if isinstance(index, tuple) else (index,))):
            self.calls.append(name)
        return function(*arguments, **options)


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """Autocast does not know the meta device."""
    autocast = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *a, **o: nullcontext() if kind == "meta" else autocast(kind, *a, **o)
    )


@pytest.fixture(scope="module")
def made(composed, random_batch):
    """From an experiment's name to its task and a batch on the meta device."""

    @cache
    def make(name):
        cfg = composed(name, "profile=paper")
        with torch.device("meta"):
            task = make_task(cfg, getattr(labels, cfg.label_set.upper()))
        return cfg, task.to("meta"), random_batch(cfg, task, "meta")

    return make


def feature(network, batch):
    """The stride-4 feature that the heads read."""
    return network(batch["frames"], batch["offsets"]) if "frames" in batch else network.feature(batch["images"])


@pytest.mark.parametrize("name", NAMES)
def test_shapes_at_the_papers_size(name, made):
    cfg, task, batch = made(name)
    network, pictures = task.network, batch["frames" if "frames" in batch else "images"]
    count, (height, width) = len(pictures), pictures.shape[-2:]
    with FromHost() as host:
        if isinstance(task, FlowTask):
            pairs = task.pairs(batch)[0]
            assert task.estimate(pairs).shape == (len(pairs), 2, height, width)
        elif hasattr(network, "heads"):
            found = feature(network, batch)
            assert found.shape == (count, 256, height // 4, width // 4)
            assert network.heads.parsing(found).shape == (count, cfg.num_classes, height // 4, width // 4)
            if isinstance(network.heads, ParsingHeads):
                (objectness,), (deltas,) = network.heads.rpn.head([found])
                assert objectness.shape[2:] == deltas.shape[2:] == found.shape[2:]
                assert deltas.shape[1] == 4 * objectness.shape[1]
                network.heads.roi_trunk(found).mean().backward()
        elif "offsets" in batch and name not in NEEDS_NUMBERS:
            now = network(batch["frames"])
            scores = now if isinstance(now, Tensor) else now[1].scores
            assert scores.shape == (count, cfg.num_classes, height, width)
        elif "images" in batch:
            dense = getattr(network, "semantic", network)
            assert dense.logits(batch["images"]).shape == (count, cfg.num_classes, height, width)
    assert host.calls == []


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NEEDS_NUMBERS and not n.endswith("_vip")])
def test_a_step_of_dense_networks_waits_for_nothing(name, made):
    _, task, batch = made(name)
    assert not isinstance(getattr(task.network, "heads", None), ParsingHeads)  # finding persons, on VIP, needs numbers
    with FromHost() as host:
        losses = task.losses(batch)
        torch.stack(list(losses.values())).sum().backward()
    assert all(loss.shape == () for loss in losses.values())
    assert host.calls == []
    gradients = [p.grad is not None for p in task.network.parameters() if p.requires_grad]
    assert all(gradients)
