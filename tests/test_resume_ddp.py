"""Two processes that are killed twice end as two that never were, every process's random numbers included."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import differences
from stopped_runs import Started

pytestmark = [pytest.mark.ddp]

ROOT = Path(__file__).parents[1]
TWO = [
    "experiment=parsing_rcnn_vip", "model.network.feature.width=16", "model.network.heads.box_width=32",
    "image_size=64", "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=3", "trainer.accelerator=cpu",
    "data.num_workers=0", "data.batch_size=1", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1",
    "checkpoint_every=1", "ema=0.9", "callbacks.best=null",
]  # fmt: skip


def train(arguments, outputs):
    path = os.pathsep.join([str(ROOT / "tests/support"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *TWO, *arguments, f"outputs={outputs}"],
        env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def last(outputs):
    (folder,) = outputs.glob("*/*/")
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def whole(vip_stand_in, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("whole")
    status, shown = train([f"data.root={vip_stand_in}"], outputs)
    assert status == 0, shown[-3000:]
    return last(outputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [((1, False), (2, True)), ((3, True), (5, False)), ((4, False), (8, False)), ((4, True), (9, True)),
     ((6, False), (11, True))],
)  # fmt: skip
def test_two_processes_killed_twice_end_the_same(first, second, whole, vip_stand_in, tmp_path):
    assert whole["global_step"] == 12
    data = f"data.root={vip_stand_in}"
    for (step, behind), resume in ((first, "null"), (second, "auto")):
        kill = f"+callbacks.kill={{_target_:kill_at.KillAt,step:{step},behind:{str(behind).lower()}}}"
        status, shown = train([data, f"resume={resume}", kill], tmp_path)
        assert status == -9, shown[-3000:]
        assert last(tmp_path)["global_step"] == step - behind
    status, shown = train([data, "resume=auto"], tmp_path)
    assert status == 0, shown[-3000:]
    assert differences(whole, last(tmp_path)) == []


@pytest.mark.parametrize(("name", "to_all"), [("SIGTERM", False), pytest.param("SIGINT", True, marks=pytest.mark.slow)])
def test_two_processes_stop_at_the_same_step(name, to_all, vip_stand_in, tmp_path):
    run = Started([*TWO, f"data.root={vip_stand_in}", "trainer.max_epochs=30"], tmp_path)
    run.wait_for(lambda: run.steps() >= 3)
    run.send(name, to_all=to_all)
    status, shown = run.end()
    assert status == {"SIGTERM": 143, "SIGINT": 130}[name], shown
    said = [line for line in shown.splitlines() if line.startswith("stopped")]
    assert said == [
        f"stopped at step {last(tmp_path)['global_step']} by {name}; the same command with resume=auto goes on"
    ]
    assert "Traceback" not in shown
    assert run.status() == "interrupted"
