"""Which checkpoints a run's flow has been through."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from partwise.checkpoints.loading import KEY
from partwise.labels import FACTS
from partwise.models.tcnet.history import flow_checkpoints

FLOW, WHOLE = "partwise.models.tcnet.task.TrunkFlow", "partwise.models.tcnet.model.TCNet"
FRAME = "partwise.nn.deeplab_v2.DeepLabV2"


@pytest.fixture
def run(tmp_path):
    """Writes the checkpoint and the settings of a run."""

    def write(experiment, network, init=None):
        folder = tmp_path / experiment
        (folder / "checkpoints").mkdir(parents=True)
        OmegaConf.save({"init": init and [str(path) for path in init]}, folder / "config.yaml")
        about = {
            "experiment": experiment, "network": {"_target_": network}, "image_size": [57, 33],
            "label_set": FACTS.state(),
        }  # fmt: skip
        torch.save({KEY: about, "state_dict": {}}, folder / "checkpoints" / "last.ckpt")
        return folder / "checkpoints" / "last.ckpt"

    return write


@pytest.fixture
def runs(run):
    chairs = run("tcnet_flow_chairs", FLOW)
    frame = run("deeplab_v2_facts", FRAME)
    return SimpleNamespace(chairs=chairs, frame=frame, refined=run("tcnet_flow_refined", FLOW, [frame, chairs]))


@pytest.mark.parametrize("order", [("refined",), ("frame", "refined"), ("refined", "frame")])
def test_the_flow_is_found_among_other_checkpoints(runs, order):
    found = flow_checkpoints([str(getattr(runs, name)) for name in order])
    assert found == [("tcnet_flow_chairs", runs.chairs), ("tcnet_flow_refined", runs.refined)]


def test_a_whole_network_has_the_flow_that_it_started_from(runs, run):
    assert flow_checkpoints([run("tcnet_indoor", WHOLE, [runs.frame, runs.chairs])]) == [
        ("tcnet_flow_chairs", runs.chairs)
    ]


def test_the_later_of_two_flows_counts(runs):
    assert flow_checkpoints([runs.refined, runs.chairs]) == [("tcnet_flow_chairs", runs.chairs)]


def test_no_flow_or_none_that_is_still_there(runs, tmp_path):
    assert flow_checkpoints([]) == flow_checkpoints([runs.frame]) == flow_checkpoints([tmp_path / "gone.ckpt"]) == []
    runs.chairs.unlink()
    (runs.frame.parent.parent / "config.yaml").unlink()
    assert flow_checkpoints([runs.refined, runs.frame]) == [("tcnet_flow_refined", runs.refined)]
