"""Commands beside each other: a folder is one process's at a time."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from partwise.io import lock
from partwise.io.images import write_image

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
TINY = [
    "experiment=deeplab_ccp", "image_size=[64,48]", "model.network.feature.width=16", "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false", "trainer.precision=32-true", "data.num_workers=0", "data.batch_size=3",
    "data.synthetic.photos=10", "data.splits={train: train, val: val}",
]  # fmt: skip
GRID = """
method: grid
metric: {name: test/miou, goal: maximize}
parameters: {experiment: {value: deeplab_ccp}, seed: {values: [0, 1]}}
"""


@contextmanager
def started(*arguments, cwd, program="run.py"):
    """A command in the background, ended with the block."""
    command = [sys.executable, str(ROOT / program), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def held(pattern, cwd, process):
    """The first folder that matches and is held."""
    while process.poll() is None:
        for folder in cwd.glob(pattern):
            if (folder / "run.json").is_file() and lock.holder(folder):
                return folder
        time.sleep(0.1)
    raise AssertionError(process.stderr.read())


def test_resume_auto_never_takes_a_live_run(tmp_path):
    short, long = "trainer.max_epochs=1", "trainer.max_epochs=9999"
    with started(*TINY, long, "resume=auto", cwd=tmp_path) as first:
        folder = held("outputs/*/*", tmp_path, first)
        with started(*TINY, short, "resume=auto", cwd=tmp_path) as second:
            out, err = second.communicate()
            assert second.returncode == 0, err
            said = f"resume=auto: passing over {folder.relative_to(tmp_path)}, which process {first.pid} on "
            assert said in out
        with started(*TINY, long, f"resume={folder.name}", cwd=tmp_path) as third:
            err = third.communicate()[1].splitlines()
            assert (third.returncode, len(err)) == (1, 1)
            assert f"is in use by process {first.pid} on " in err[0]
        assert first.poll() is None
    runs = {run: json.loads((run / "run.json").read_text()) for run in tmp_path.glob("outputs/*/*")}
    assert sorted(record["status"] for record in runs.values()) == ["finished", "running"]
    assert runs[folder]["pid"] == first.pid


def test_the_second_of_two_predictions_and_of_two_sweeps_is_refused_or_passed_over(tmp_path):
    (tmp_path / "seeds.yaml").write_text(GRID)
    arguments = ["seeds.yaml", *TINY[1:], "trainer.max_epochs=1"]
    cells = tmp_path / "outputs" / "sweeps" / "seeds"
    (cells / "seed=0").mkdir(parents=True)
    other = lock.hold(cells / "seed=0")
    with started(*arguments, cwd=tmp_path, program="scripts/run_sweep.py") as sweep:
        out, err = sweep.communicate()
        assert sweep.returncode == 0, out + err
        assert f"passed over: seed=0, which process {os.getpid()} on " in out
    assert [run.parts[-3] for run in cells.glob("*/*/*") if (run / "run.json").is_file()] == ["seed=1"]
    other.release()

    (checkpoint,) = cells.rglob("last.ckpt")
    write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "out").mkdir()
    other = lock.hold(tmp_path / "out")
    predict = ["task=predict", f"ckpt={checkpoint}", "input=a.png", "output=out", "trainer.accelerator=cpu"]
    with started(*predict, cwd=tmp_path) as second:
        err = second.communicate()[1].splitlines()
        assert (second.returncode, len(err)) == (1, 1)
        assert err[0].startswith(f"error: out is in use by process {os.getpid()} on ")
    other.release()
    with started(*predict, cwd=tmp_path) as third:
        assert third.wait() == 0, third.stderr.read()
