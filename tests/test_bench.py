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


@pytest.mark.parametrize("way", ["as_released", "whole_canvases"])
def test_the_loops_of_priors_draw_what_ours_does(way):
    from benchmarks import pose
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from partwise.models.pose_transfer.library import make_library
    from partwise.models.pose_transfer.prior import morph

    skeleton = instantiate(OmegaConf.load(pose.SKELETON))
    library = make_library(pose.random_people(skeleton, 2, 0), skeleton)
    target = pose.random_poses(1, 1)
    ours = morph(library, torch.tensor([1]), target, torch.full((1, 2), pose.SIDE))[0] > 0
    maps = torch.zeros(ours.shape, dtype=torch.uint8)
    getattr(pose, way)(skeleton, library.parts[1].numpy(), library.poses[1], target[0], maps.numpy())
    assert ((maps > 0) & ours).sum() / ((maps > 0) | ours).sum() > (0.85 if way == "as_released" else 0.99)


def test_priors_are_measured():
    from benchmarks import pose

    retrieval, morphing = pose.retrieval(4, 50, 2, 1, 0.0), pose.morphing(1, batch=2, looped=1)
    assert [retrieval.row_count, morphing.row_count] in ([2, 4], [2, 5])


def test_the_loop_of_the_flow_search_finds_what_ours_does():
    from benchmarks import tpr

    from partwise.models.self_supervised.tpr import correct_flow

    parts = tpr.scene(0.1, (16, 20))
    torch.testing.assert_close(tpr.looped(*parts, 1000), correct_flow(*parts)[0])
    assert tpr.run(count=5, rounds=1, size=(16, 20))[0].row_count == 2


def test_the_unfolded_window_is_the_same_mean_field():
    from benchmarks import crf

    from partwise.ops.mean_field import mean_field

    unary, image = crf.scene(5, 24)
    torch.testing.assert_close(crf.unfold(unary, image), mean_field(unary, image), atol=1e-3, rtol=1e-4)
    assert crf.limit(31) > crf.limit(7)


def test_the_loop_over_joints_matches_as_the_module_does():
    from benchmarks import gbsr

    from partwise.models.self_supervised.gbsr import KAPPA
    from partwise.models.self_supervised.graphs import SAME, match_graphs

    distances = gbsr.random_distances(3, 0)
    ours = match_graphs(distances, SAME.expand(3, -1, -1), KAPPA)
    torch.testing.assert_close(gbsr.looped(distances), ours, atol=1e-5, rtol=1e-5)
    assert gbsr.run(torch.device("cpu"), pairs=1, rounds=1)[0].row_count == 3
