"""The script that kills trainings and compares how they end."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts/soak.py"


def soak(folder):
    command = [sys.executable, str(SCRIPT), "--minutes=0", "--variant=average", "--kills=1", f"--folder={folder}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.process
def test_a_killed_training_ends_like_a_whole_one_and_any_difference_is_named(tmp_path):
    done = soak(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "average 0: killed behind rows [" in done.stdout
    assert done.stdout.splitlines()[0].endswith(", equal")
    (file,) = tmp_path.glob("average/0/*/*/checkpoints/last.ckpt")
    checkpoint = torch.load(file, weights_only=True)
    name, weights = next((key, value) for key, value in checkpoint["state_dict"].items() if value.is_floating_point())
    weights += 0.25
    torch.save({**checkpoint, "global_step": 5}, file)
    done = soak(tmp_path)  # nothing is left to be run
    assert done.returncode == 1
    assert f"state_dict.{name} differs by 0.25" in done.stdout
    assert "became 5" in done.stdout
