"""Checkpoints of versions up to 0.2.0, whose networks took flat arguments, give the same networks."""

from typing import Any

import pytest
import small_networks
import torch

from partwise.checkpoints.descriptions import UPGRADES, upgraded
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.errors import InputError
from partwise.labels import FACTS, FOREGROUND, VIP, LabelSet
from partwise.run.checkpointing import Provenance

NN, MODELS = "partwise.nn.", "partwise.models."
IMAGES = {"image_size": 64, "backbone": "resnet18", "pretrained": False, "width": 8, "backbone_multiplier": 0.25}
PERSONS = {"num_classes": 20, "box_width": 16, "rois": 128, **IMAGES}
FRAME = {"num_classes": 5, "image_size": [57, 33], "pretrained": False, "width": 16, "backbone_multiplier": 0.125,
         "norm": True}  # fmt: skip
UNITS = {name: {"_target_": f"{NN}conv_gru.{name}", "channels": 8} for name in ("ConvGRU", "ConvLSTM")}
HARD = {"sigmoid": "hard"}  # what ATEN had before there was a choice
COARSE = {"_target_": f"{MODELS}aten.model.Coarse", "stride": 4, "encoder": {**UNITS["ConvGRU"], **HARD}}

#: Flat description, and today's.
PAIRS: dict[str, Any] = {
    "Parsing R-CNN": ({"_target_": f"{NN}parsing_rcnn.ParsingRCNN", "persons": True, **PERSONS},
                      small_networks.parsing_rcnn()),
    "its parts alone": ({"_target_": f"{NN}parsing_rcnn.ParsingRCNN", **PERSONS, "persons": False, "num_classes": 2},
                        small_networks.parsing_rcnn(2, persons=False)),
    "ATEN": ({"_target_": f"{MODELS}aten.model.ATEN", "flow_width": 0.125, "key_interval": 4, "proposals": 300,
              "encoder": "gru", "update_bias": 1.5, "sigmoid": "logistic", "flow_unit": 20.0, "flow_size": 0.5,
              "encoder_stride": 1, "persons": True, **PERSONS},
             small_networks.aten(flow={"unit": 20.0, "size": 0.5}, key_interval=4,
                                 encoder={**UNITS["ConvGRU"], "update_bias": 1.5, "sigmoid": "logistic"})),
    "ATEN, ConvLSTM": ({"_target_": f"{MODELS}aten.model.ATEN", "flow_width": 0.125, "encoder": "lstm", **PERSONS},
                       small_networks.aten(encoder={**UNITS["ConvLSTM"], **HARD})),
    "ATEN, mean": ({"_target_": f"{MODELS}aten.model.ATEN", "flow_width": 0.125, "encoder": "mean", **PERSONS},
                   small_networks.aten(encoder={"_target_": f"{NN}conv_gru.Mean"})),
    "ATEN, coarse": ({"_target_": f"{MODELS}aten.model.ATEN", "flow_width": 0.125, "encoder_stride": 4, **PERSONS},
                     small_networks.aten(encoder=COARSE)),
    "FGFA": ({"_target_": f"{MODELS}baselines.fgfa.FGFA", "reach": 2, "embedding": [8, 8, 8], "flow_width": 0.125,
              "persons": True, **PERSONS}, small_networks.fgfa()),
    "DeepLab": ({"_target_": f"{NN}deeplab.DeepLab", "num_classes": 13, "lovasz": 0.5, "norm": True, **IMAGES},
                small_networks.deeplab(image_size=64, norm=True, lovasz=0.5)),
    "TCNet": ({"_target_": f"{MODELS}tcnet.model.TCNet", "offsets": [2, 1], "displacement": 2, "flow_width": 0.0625,
               "confidence": "unit", **FRAME}, small_networks.tcnet(offsets=[2, 1], confidence="unit")),
    "TCNet's flow": ({"_target_": f"{MODELS}tcnet.task.TrunkFlow", "displacement": 2, "flow_width": 0.0625,
                      "pretrained": False, "backbone_multiplier": 0.125, "norm": True}, small_networks.trunk_flow()),
    "EM-Adapt": ({"_target_": f"{MODELS}baselines.em_adapt.EMAdapt", "mode": "fixed", **FRAME},
                 small_networks.em_adapt(mode="fixed")),
    "NetWarp, DIS": ({"_target_": f"{MODELS}baselines.netwarp.NetWarp", "flow": "dis", "flow_width": 1.0, **FRAME},
                     small_networks.netwarp()),
    "NetWarp, FlowNet": ({"_target_": f"{MODELS}baselines.netwarp.NetWarp", "flow": "flownet", "flow_width": 0.0625,
                          **FRAME}, small_networks.netwarp("PlainFlow")),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_flat_description_gives_the_network_of_todays(name, tmp_path):
    flat, description = PAIRS[name]
    network = small_networks.build(description).eval()
    count = flat.get("num_classes", 13)
    label_set = {20: VIP, 13: FACTS, 2: FOREGROUND}.get(count, LabelSet("five", tuple("abcde")))
    about = Provenance(experiment="some", network=flat, label_set=label_set, image_size=64, synthetic=True).state
    weights = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": weights, KEY: about}, tmp_path / "old.ckpt")
    found = build_network(load(tmp_path / "old.ckpt"), tmp_path / "old.ckpt")
    assert type(found) is type(network)
    assert str(found) == str(network)
    plain = {key: value for key, value in vars(network).items() if not key.startswith("_") and key != "training"}
    assert {key: vars(found)[key] for key in plain} == plain
    state = found.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_every_class_that_changed_is_covered():
    assert {flat["_target_"] for flat, _ in PAIRS.values()} == UPGRADES.keys()


@pytest.mark.parametrize("description", [description for _, description in PAIRS.values()], ids=PAIRS)
def test_todays_descriptions_stay_as_they_are(description):
    assert upgraded(description) == description


@pytest.mark.parametrize("value", ["wide", None, [1], {"a": 1}, float("inf"), torch.zeros(2)], ids=str)
def test_arguments_that_are_none_are_refused_not_upgraded(value, tmp_path):
    flat = {**PAIRS["TCNet"][0], "backbone_multiplier": value}
    about = {"experiment": "some", "network": flat, "image_size": 64, "synthetic": True,
             "label_set": {"name": "five", "names": list("abcde"), "pairs": []}}  # fmt: skip
    torch.save({"state_dict": {}, KEY: about}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError):
        build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
