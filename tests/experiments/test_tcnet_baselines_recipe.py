"""TCNet's baselines as their experiments compose them: what they start from, what trains, and how fast."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from composing import composed
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torchvision.models._api import WeightsEnum

from partwise.errors import InputError
from partwise.labels import FACTS
from partwise.run.averaging import ExponentialAverage
from partwise.run.build import make_task

SMALL = ["image_size=[57,33]", "data.num_workers=0", "data.batch_size=2", "data.synthetic.size=[57,33]",
         "data.synthetic.tracklets={train:4,val:1,test:1}"]  # fmt: skip


def recipe(experiment, *overrides):
    cfg = composed(f"experiment={experiment}", "init=[]", *overrides)  # without stages
    if "profile=paper" not in overrides or SMALL[0] in overrides:
        frame = cfg.model.network.get("frame", cfg.model.network)
        frame.width, frame.backbone_multiplier, frame.pretrained = 16, 0.125, False
    return cfg


def fitted(cfg, folder):
    """The task after two steps and a validation in Lightning's own loop."""
    task, data = make_task(cfg, FACTS), instantiate(cfg.data)
    trainer = pl.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=str(folder), use_distributed_sampler=False,
        callbacks=[ExponentialAverage(cfg.ema)] if cfg.ema else [],
    )  # fmt: skip
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    trainer.fit(task, data)
    assert trainer.global_step == 2
    return task, before


@pytest.mark.parametrize("ema", ["null", "0.9"])
def test_netwarps_flow_is_not_trained_with_the_parser(ema, tmp_path):
    cfg = recipe("netwarp_flownet_facts", *SMALL, "model.network.flow.width=0.0625", f"ema={ema}",
                   "model.optimizer.weight_decay=0.1")  # fmt: skip
    task, before = fitted(cfg, tmp_path)
    changed = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith("flow.")}
    assert {"parsing.branches.0.0.0.weight", "then", "transform.join.weight"} <= changed


@pytest.mark.parametrize("experiment", ["netwarp_dis_facts", "em_adapt_facts", "fcn8s_facts", "tcnet_indoor"])
def test_weights_are_averaged_whatever_the_network_holds(experiment, tmp_path):
    cfg = recipe(experiment, *SMALL, "ema=0.9")
    if "tcnet" in experiment:
        cfg.model.network.flow.update(channels=64, skip_channels=32, width=0.0625, displacement=2)
    _, before = fitted(cfg, tmp_path)
    assert before


@pytest.fixture
def vgg(monkeypatch):
    """Stands in for torchvision's file of weights: other numbers."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.vgg16().state_dict().items()}
    weights = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    for i, name in enumerate(("classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias")):
        weights[name] = torch.arange(shapes[name].numel(), dtype=torch.float32).view(shapes[name]) + i
    weights["features.0.weight"] = torch.rand(shapes["features.0.weight"])
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *_, **__: weights)
    return weights


def test_fcn8s_starts_from_vggs_fully_connected_layers(vgg):
    network = make_task(recipe("fcn8s_facts", "profile=paper"), FACTS).network
    fc6, fc7 = network.classifier[0], network.classifier[3]
    assert torch.equal(network.to_pool3[0].weight, vgg["features.0.weight"])
    assert torch.equal(fc6.weight.flatten(1), vgg["classifier.0.weight"])
    assert torch.equal(fc6.bias, vgg["classifier.0.bias"])
    assert torch.equal(fc7.weight.flatten(1), vgg["classifier.3.weight"])
    assert torch.equal(fc7.bias, vgg["classifier.3.bias"])
    # on one window of 7 x 7 pixels, which it reads as VGG reads its flattened feature
    window, linear = torch.rand(1, 512, 7, 7), torch.nn.functional.linear
    torch.testing.assert_close(
        fc6(window).flatten(1), linear(window.flatten(1), vgg["classifier.0.weight"], vgg["classifier.0.bias"]),
        rtol=1e-4, atol=1,
    )  # fmt: skip


@pytest.mark.parametrize("change", ["width=1024", "backbone_multiplier=0.5", "norm=true"])
def test_other_sizes_of_fcn8s_have_no_pretrained_weights(change):
    cfg = recipe("fcn8s_facts", "profile=paper", f"model.network.{change}")
    with pytest.raises(InstantiationException, match="pretrained=none") as raised:
        make_task(cfg, FACTS)
    assert isinstance(raised.value.__cause__, InputError)


@pytest.mark.parametrize(
    ("experiment", "head"),
    [("fcn8s_facts", None), ("deeplab_v2_facts", "parsing"), ("em_adapt_facts", "parser.parsing"),
     ("netwarp_dis_facts", "parsing"), ("tcnet_indoor", "parsing")],
)  # fmt: skip
def test_biases_learn_twice_as_fast_and_are_not_decayed(experiment, head):
    cfg = recipe(experiment, "profile=paper", *SMALL)
    task = make_task(cfg, FACTS)
    task.trainer = SimpleNamespace(estimated_stepping_batches=100)
    (optimizer,), _ = task.configure_optimizers()
    names = {parameter: name for name, parameter in task.network.named_parameters()}
    groups = {names[p]: group for group in optimizer.param_groups for p in group["params"]}
    assert groups.keys() == {name for name, p in task.network.named_parameters() if p.requires_grad}
    lr = cfg.model.optimizer.lr
    for name, group in groups.items():
        part = next((rate for key, rate in cfg.model.get("rates", {}).items() if name.startswith(f"{key}.")), 1)
        assert group["lr"] == pytest.approx(lr * part * (2 if name.endswith(".bias") else 1)), name
        assert (group["weight_decay"] == 0) == (task.network.get_parameter(name).ndim == 1), name
    if head:
        assert groups[f"{head}.branches.0.4.bias"]["lr"] == pytest.approx(20 * lr)
