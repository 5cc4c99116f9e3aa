"""Networks and weights of checkpoints: built again, or refused before they cost anything."""

import os
import resource
import time

import pytest
import small_networks
import torch
from commands import run_py
from composing import EXPERIMENTS, composed
from tiny_checkpoint import DATA, GOOD, NAME, NETWORK, assert_one_line, save

from partwise import labels
from partwise.checkpoints import networks
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.errors import InputError
from partwise.run import cli
from partwise.run.build import make_task
from partwise.run.checkpointing import Provenance
from partwise.run.configs import plain


@pytest.mark.parametrize("name", sorted(cli.experiments(EXPERIMENTS)))
def test_every_experiments_network_comes_back(name, tmp_path):
    cfg = composed(f"experiment={name}", "init=[]", "pretrained=none")
    for part in small_networks.parts(cfg.model.network):  # smaller, where nothing else depends on it
        match str(part._target_).rsplit(".", 1)[-1]:
            case "DeepLabFeature":
                part.backbone_multiplier = 0.0625
            case "ParsingHeads":
                part.box_width = 16
            case "ScaledFlow" | "FlowNetS" | "PlainFlow" | "CorrelationFlow":
                part.width = 0.0625
    label_set = getattr(labels, cfg.label_set.upper())
    task = make_task(cfg, label_set)
    config, checkpoint = plain(cfg), {"state_dict": task.state_dict()}
    about = Provenance(
        experiment=name, network=config["model"]["network"], label_set=label_set, image_size=config["image_size"],
        synthetic=True, stretch=config["model"].get("stretch", False),
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    torch.save(checkpoint, tmp_path / "some.ckpt")
    network = build_network(load(tmp_path / "some.ckpt"), tmp_path / "some.ckpt")
    assert type(network) is type(task.network)
    assert not network.training
    expected, found = task.network.state_dict(), network.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("name", sorted(cli.experiments(EXPERIMENTS)))
def test_every_papers_network_can_be_described(name):
    network = plain(composed(f"experiment={name}", "profile=paper"))["model"]["network"]
    networks.check(network)
    with pytest.raises(InputError, match="do not fit"):  # planned without memory, then found to lack its weights
        networks.build(network, {}, "some.ckpt")


def test_a_network_may_hold_networks_that_pass_themselves():
    inner = {"_target_": "partwise.nn.flownet.FlowNetS", "width": 0.125}
    with pytest.raises(InputError, match="has no argument frame"):  # none does so yet, but the description passes
        networks.build({**NETWORK, "frame": inner}, {}, "some.ckpt")
    with pytest.raises(InputError, match=r"os\.system"):
        networks.build({**NETWORK, "frame": {**inner, "width": {"_target_": "os.system"}}}, {}, "some.ckpt")


@pytest.mark.parametrize(
    "change",
    [{"width": 16_000}, {"num_classes": 13, "backbone_multiplier": 300.0}, {"width": 10**9}],
    ids=["width", "multiplier", "out of range"],
)
def test_a_network_larger_than_its_weights_is_never_built(change, content, tmp_path):
    file = save(content, tmp_path / "large.ckpt", network={**content[KEY]["network"], **change})
    memory, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError, match=r"do not fit|out of any range|cannot be built"):
        build_network(load(file), file)
    assert time.monotonic() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kB


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tcnet_indoor", {"fusion_layers": networks.LARGEST}, "has more parameters"),
        ("tcnet_indoor", {"fusion_layers": 10**9}, "an argument 1000000000, which is .* out of any range"),
        ("tcnet_indoor", {"offsets": [1] * 200}, "do not fit TCNet"),
        ("fgfa_vip", {"reach": networks.LARGEST}, "do not fit FGFA"),
        ("fgfa_vip", {"embedding": [512] * 200}, "too many values to unpack"),
        ("fgfa_vip", {"embedding": [networks.LARGEST] * 3}, "do not fit FGFA"),
    ],
    ids=str,
)
def test_a_description_cannot_keep_the_machine_busy(name, change, message):
    description = plain(composed(f"experiment={name}", "profile=paper"))["model"]["network"]
    with torch.device("meta"):
        names = networks._construct(description).state_dict()
    weights = {name: torch.zeros(1) for name in names}  # as many as the network has: their number says nothing
    begin = time.monotonic()
    with pytest.raises(InputError, match=message):
        networks.build({**description, **change}, weights, "some.ckpt")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("how", ["overlapping", "not finite", "sparse", "no tensor", "without memory"])
def test_weights_that_are_none_are_refused(how, content, tmp_path):
    weights = dict(content["state_dict"])
    name = next(key for key in weights if key.endswith("weight") and weights[key].numel() > 100)
    weights[name] = {
        "overlapping": torch.zeros(1).expand(weights[name].shape), "not finite": weights[name] * float("nan"),
        "sparse": weights[name].flatten(1).to_sparse(), "no tensor": 3, "without memory": weights[name].to("meta"),
    }[how]  # fmt: skip
    torch.save({**content, "state_dict": weights}, tmp_path / "odd.ckpt")
    if how == "overlapping":  # large enough that the whole file is less
        wide = {"_target_": GOOD, "num_classes": 13, "image_size": 41, "pretrained": False, "width": 4000}
        with torch.device("meta"):
            shapes = networks._construct(wide).state_dict()
        weights = {f"network.{k}": torch.zeros(1).expand(v.shape) for k, v in shapes.items()}
        torch.save({"state_dict": weights, KEY: {**content[KEY], "network": wide}}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError) as caught:
        build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    assert "\n" not in str(caught.value)
    assert "odd.ckpt" in str(caught.value)


def test_pretrained_weights_are_never_fetched_for_a_checkpoint(content, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    described = content[KEY]["network"]
    for network in (described | {"pretrained": True}, {k: v for k, v in described.items() if k != "pretrained"}):
        file = save(content, tmp_path / "some.ckpt", network=network)
        assert build_network(load(file), file)
    assert not (tmp_path / "nothing").exists()


def test_weights_of_another_kind_of_number_are_refused_and_of_another_precision_read(content, tmp_path):
    weights = content["state_dict"]
    name = next(key for key in weights if key.endswith("weight"))
    for kind in (torch.int64, torch.bool, torch.uint8):
        torch.save({**content, "state_dict": {**weights, name: weights[name].to(kind)}}, tmp_path / "odd.ckpt")
        with pytest.raises(InputError, match=rf"{name.removeprefix('network.')}' is [0-9x]+ of {str(kind)[6:]}, not"):
            build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    torch.save({**content, "state_dict": {k: v.half() for k, v in weights.items()}}, tmp_path / "half.ckpt")
    assert (
        build_network(load(tmp_path / "half.ckpt"), tmp_path / "half.ckpt").state_dict()[name[8:]].dtype
        is torch.float32
    )


def test_the_first_weights_that_differ_are_named(content, tmp_path):
    weights = dict(content["state_dict"])
    first, second, *_ = weights
    weights["network.other\n"] = weights.pop(first)
    weights[second] = torch.zeros(2, 3)
    torch.save({**content, "state_dict": weights}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError) as caught:
        build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    said = str(caught.value)
    assert "\n" not in said
    assert f"'{first.removeprefix('network.')}' is missing" in said
    assert f"'{second.removeprefix('network.')}' is 2x3, not" in said
    assert "3 in all" in said


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.process
def test_pretrained_files_of_libraries_run_no_code(tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(Bomb(tmp_path / "marker"), folder / "vgg16-397923af.pth")
    large = ["model.network.pretrained=true", "model.network.norm=false", "model.network.backbone_multiplier=1.0"]
    where = f"outputs={tmp_path / 'outputs'}"
    done = run_py(f"experiment={NAME}", *DATA, *large, where, status=1, TORCH_HOME=str(tmp_path))
    assert_one_line(done, "VGG-16", "UnpicklingError")
    assert not (tmp_path / "marker").exists()
