"""The benchmarks' command line, their clock, and networks on the device that is named."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[1] / "scripts"
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--device", "cpu"], "data runs no network; leave --device out"),
        pytest.param(["aten", "--device", "cuda"], "finds no such GPU here; give cpu", marks=no_gpu),
    ],
)
def test_a_wrong_device_gets_one_line(arguments, message):
    done = subprocess.run([sys.executable, str(SCRIPTS / "bench.py"), *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())


def test_the_best_of_several_rounds_is_taken():
    from benchmarks.timing import best_time, in_turn

    naps = iter((0.05, 0.001, 0.05))
    assert 0.001 <= best_time(lambda: time.sleep(next(naps)), torch.device("cpu"), 3) < 0.05
    calls = []
    times = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert set(times) == {"a", "b"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_work_runs_on_the_device_in_its_half_precision(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    from benchmarks.aten import in_bfloat16
    from benchmarks.timing import best_time

    seen = []
    matrix = torch.rand(64, 64, device=device)
    seconds = best_time(in_bfloat16(lambda: seen.append((matrix @ matrix).dtype), matrix.device), matrix.device, 3)
    assert seen == [torch.bfloat16] * 3
    assert 0 < seconds < 10
