"""Chains of stages to their end, through `run.py` and `run_sweep.py`: each stage is trained once, whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from composing import ROOT, composed

from data_modules.synthetic.layouts.facts import FACTSWriter
from data_modules.synthetic.layouts.flying_chairs import FlyingChairsWriter
from partwise.run import stages

pytestmark = pytest.mark.process

# Experiments of a user's own folder: the papers' chains at tiny sizes.
SHARED = """
pretrained: none
trainer: {max_epochs: 1, check_val_every_n_epoch: 1, accelerator: cpu}
checkpoint_every: 1
"""
CHAIRS = """
image_size: [64, 64]
data: {batch_size: 1, crop: [64, 64], num_workers: 0, synthetic: {pairs: {train: 12, val: 2}, size: [96, 96]}}
"""
VIP = """
data:
  batch_size: 2
  num_workers: 0
  synthetic: {videos: {train: 3, val: 1, test: 2}, frames_per_video: 7, size: [96, 128], annotate_every: 3}
"""
INDOOR = """
data:
  batch_size: 1
  num_workers: 0
  synthetic: {tracklets: {train: 4, val: 1, test: 2}, frames_per_tracklet: 6, size: [57, 33]}
"""
CONFIGS = {
    "tiny_frame": """# @package _global_
defaults: [parsing_rcnn_vip, /scale/demo_parsing_rcnn_vip, _self_]
name: tiny_frame
image_size: 64
model: {network: {feature: {backbone_multiplier: 0.125, width: 8}, heads: {box_width: 8}}}
""" + SHARED + VIP,
    "tiny_flow": """# @package _global_
defaults: [flownet_s_chairs, /scale/demo_flownet_s_chairs, _self_]
name: tiny_flow
model: {network: {width: 0.0625}, optimizer: {lr: 1.0e-4}}
""" + SHARED + CHAIRS,
    "tiny_aten": """# @package _global_
defaults: [aten_vip, _self_]
name: tiny_aten
stages: {frame: {experiment: tiny_frame}, flow: {experiment: tiny_flow}}
init: [frame, flow]
image_size: 64
model:
  network:
    frame: {feature: {backbone_multiplier: 0.125, width: 8}, heads: {box_width: 8}}
    flow: {width: 0.0625}
    encoding_range: 1
    key_interval: 1
""" + SHARED + VIP,
    "tiny_chairs": """# @package _global_
defaults: [tcnet_flow_chairs, /scale/demo_tcnet_flow_chairs, _self_]
name: tiny_chairs
model:
  network: {trunk: {multiplier: 0.125}, flow: {channels: 64, skip_channels: 32, displacement: 2, width: 0.0625}}
""" + SHARED + CHAIRS,
    "tiny_refined": """# @package _global_
defaults: [tcnet_flow_refined, /scale/demo_tcnet_flow_refined, _self_]
name: tiny_refined
stages: {chairs: {experiment: tiny_chairs}}
init: [chairs]
image_size: [57, 33]
model:
  network: {trunk: {multiplier: 0.125}, flow: {channels: 64, skip_channels: 32, displacement: 2, width: 0.0625}}
""" + SHARED + INDOOR,
    "tiny_tcnet": """# @package _global_
defaults: [tcnet_indoor, _self_]
name: tiny_tcnet
stages: {flow: {experiment: tiny_refined}}
init: [flow]
image_size: [57, 33]
model:
  network:
    frame: {backbone_multiplier: 0.125, width: 16}
    flow: {channels: 64, skip_channels: 32, displacement: 2, width: 0.0625}
""" + SHARED + INDOOR,
}  # fmt: skip
CHAINS = {"tiny_aten": ["tiny_frame", "tiny_flow"], "tiny_tcnet": ["tiny_chairs", "tiny_refined"]}  # in their order


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    for name, text in CONFIGS.items():
        (folder / "experiment" / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def roots(vip_stand_in, tmp_path_factory):
    """Folders of "real" data."""
    chairs, facts = tmp_path_factory.mktemp("chairs"), tmp_path_factory.mktemp("facts")
    FlyingChairsWriter(pairs={"train": 12, "val": 2}, size=(96, 96)).write(chairs)
    FACTSWriter(tracklets={"train": 4, "val": 1, "test": 2}, frames_per_tracklet=6, size=(57, 33)).write(facts)
    return {"tiny_aten": vip_stand_in, "tiny_tcnet": facts, "chairs": chairs}


def start(configs, chain, outputs, places):
    command = [
        sys.executable,
        "run.py",
        f"--config-dir={configs}",
        f"experiment={chain}",
        f"outputs={outputs}",
        *places,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)  # fmt: skip


def finish(process):
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said[-3000:]
    return said


def runs(outputs):
    return {file.parts[-3]: json.loads(file.read_text()) for file in outputs.glob("*/*/run.json")}


def wait_for(stage, process, outputs):
    """Wait until a stage has left a checkpoint."""
    deadline = time.monotonic() + 300
    while not list(outputs.glob(f"{stage}/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_in(stage, process, outputs):
    """Kill a chain once a stage has left a checkpoint."""
    wait_for(stage, process, outputs)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("to_all", [False, True], ids=["alone", "with its stage"])
def test_a_signal_stops_the_stage_that_is_trained_which_goes_on_later(to_all, configs, tmp_path):
    process = start(configs, "tiny_aten", tmp_path, ["checkpoint_every=1"])
    wait_for("tiny_frame", process, tmp_path)
    os.killpg(process.pid, signal.SIGINT) if to_all else process.terminate()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == (130 if to_all else 143), said
    of_stage, of_run = said.rstrip().splitlines()[-2:]
    name = "SIGINT" if to_all else "SIGTERM"
    assert of_stage.startswith("stopped at step ")
    assert of_run == f"stopped in stage frame by {name}; the same command goes on with it"
    assert "Traceback" not in said
    assert {name: run["status"] for name, run in runs(tmp_path).items()} == {"tiny_frame": "interrupted"}
    finish(start(configs, "tiny_aten", tmp_path, []))
    assert [run["status"] for run in runs(tmp_path).values()] == ["finished"] * 3
    assert len(list(tmp_path.glob("*/*/run.json"))) == 3


@pytest.mark.parametrize("origin", ["real", "stand-in"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_killed_chain_goes_on_and_its_stages_are_found_again(chain, origin, configs, roots, tmp_path, monkeypatch):
    outputs, (first, second) = tmp_path / "outputs", CHAINS[chain]
    places = [f"data.root={roots[chain]}", f"roots.flying_chairs={roots['chairs']}"] if origin == "real" else []
    kill_in(second, start(configs, chain, outputs, places), outputs)
    assert {name: run["status"] for name, run in runs(outputs).items()} == {first: "finished", second: "running"}

    finish(start(configs, chain, outputs, places))
    done = runs(outputs)
    assert {name: run["status"] for name, run in done.items()} == dict.fromkeys((first, second, chain), "finished")
    assert len(list(outputs.glob("*/*/run.json"))) == 3  # each trained once, the killed one went on
    given, here = [f"experiment={chain}", *places], f"hydra.searchpath=[file://{configs}]"
    monkeypatch.setattr(stages, "compose", lambda _, overrides: composed(*overrides, here))
    assert done[chain]["identity"] == stages.identity(composed(*given, here), origin == "stand-in", given)

    # A cell of a sweep, from elsewhere, with workers, another logger and moved data.
    moved = []
    if origin == "real":
        moved = [f"data.root={shutil.copytree(roots[chain], tmp_path / 'moved')}"]  # and without the chairs' folder
    (tmp_path / "grid.yaml").write_text(
        f"program: run.py\nmethod: grid\nmetric: {{name: test/miou, goal: maximize}}\nparameters:\n"
        f"  experiment: {{value: {chain}}}\n  data.num_workers: {{value: 1}}\n  logger: {{value: wandb}}\n"
        "  model.optimizer.lr: {values: [0.001]}\n"
    )
    command = [sys.executable, ROOT / "scripts" / "run_sweep.py", "grid.yaml", "--outputs", "swept",
               f"--config-dir={configs}", f"stages_in={outputs}", *moved]  # fmt: skip
    swept = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert swept.returncode == 0, (swept.stdout + swept.stderr)[-3000:]
    assert len(list(outputs.glob("*/*/run.json"))) == 3  # no stage again
    (cell,) = (tmp_path / "swept").rglob("run.json")
    assert json.loads(cell.read_text())["status"] == "finished"
