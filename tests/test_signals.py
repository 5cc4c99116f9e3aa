"""`run.py` under Ctrl-C, SIGTERM and Slurm's SIGUSR1: it saves, says how to go on, and ends the same when it did."""

import csv
import json

import numpy as np
import pytest
import torch
from stopped_runs import Started

from partwise.io.images import write_image

pytestmark = pytest.mark.process

TINY = [
    "experiment=parsing_rcnn_vip", "model.network.feature.width=16", "model.network.heads.box_width=32",
    "image_size=64", "trainer.max_epochs=4", "trainer.accelerator=cpu", "data.num_workers=1", "data.batch_size=2",
    "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1",
]  # fmt: skip
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 138}


def arguments(root, *more):
    return [*TINY, f"data.root={root}", *more]


def checkpoint(run):
    return torch.load(run.folder() / "checkpoints/last.ckpt", weights_only=True)


def rows(run):
    with (run.folder() / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), bool(row.get("val/miou"))) for row in csv.DictReader(file)]


def finish(arguments, outputs):
    run = Started(arguments, outputs)
    status, shown = run.end()
    assert status == 0, shown
    assert run.status() == "finished"
    return run


@pytest.fixture(scope="module")
def whole(vip_stand_in, tmp_path_factory):
    return finish(arguments(vip_stand_in), tmp_path_factory.mktemp("whole"))


def equal(one, two):
    return one["global_step"] == two["global_step"] and all(
        torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items()
    )


@pytest.mark.parametrize(
    ("name", "to_all"), [("SIGINT", True), ("SIGTERM", True), ("SIGTERM", False), ("SIGUSR1", True)]
)
def test_a_signal_saves_the_next_step_and_the_run_goes_on(name, to_all, whole, vip_stand_in, tmp_path):
    run = Started(arguments(vip_stand_in), tmp_path)
    run.wait_for(lambda: run.steps() >= 2)
    run.send(name, to_all=to_all)
    status, shown = run.end()
    assert status == SIGNALS[name], shown
    step = checkpoint(run)["global_step"]
    last = f"stopped at step {step} by {name}; the same command with resume=auto goes on"
    assert shown.rstrip().splitlines()[-1] == last, shown
    assert "Traceback" not in shown
    assert run.status() == "interrupted"
    assert (step - 1, False) in rows(run)  # the step that it stopped behind is logged
    run = finish(arguments(vip_stand_in, "resume=auto"), tmp_path)
    assert equal(checkpoint(run), checkpoint(whole))
    assert rows(run) == rows(whole)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_prediction_says_what_is_finished(name, whole, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(400):
        write_image(pictures / f"{n}.png", np.full((64, 64, 3), n % 256, np.uint8))
    output = tmp_path / "parsed"
    run = Started(
        ["task=predict", f"ckpt={whole.folder() / 'checkpoints/last.ckpt'}", f"input={pictures}", f"output={output}"],
        tmp_path / "outputs",
    )
    run.wait_for(lambda: len(list(output.glob("parts/*.png"))) >= 3)
    run.send(name)
    status, shown = run.end()
    finished = len(list(output.glob("parts/*.png")))
    assert status == SIGNALS[name]
    last = shown.rstrip().splitlines()[-1]
    assert last == f"stopped by {name}: {finished} frames are finished in {output}; the same command starts over"
    assert not json.loads((output / "summary.json").read_text())["finished"]


def test_a_full_disk_is_one_line_and_keeps_the_earlier_checkpoint(vip_stand_in, tmp_path):
    run = Started(arguments(vip_stand_in, "checkpoint_every=1", "trainer.max_epochs=1"), tmp_path)
    status, shown = run.end()
    assert status == 0, shown
    before = checkpoint(run)
    size = (run.folder() / "checkpoints/last.ckpt").stat().st_size
    limited = Started(
        arguments(vip_stand_in, "checkpoint_every=1", "trainer.max_epochs=2", f"resume={run.folder().name}"),
        tmp_path, ["prlimit", f"--fsize={size // 2}"],
    )  # fmt: skip
    status, shown = limited.end()
    assert status == 1
    last = run.folder() / "checkpoints/last.ckpt"
    assert shown.rstrip().splitlines()[-1] == (
        f"error: cannot write {last} (File too large); free some space or name another folder"
    )
    assert "Traceback" not in shown
    assert {file.name for file in last.parent.iterdir()} <= {"last.ckpt", "best.ckpt"}
    assert equal(checkpoint(run), before)


def test_a_run_whose_checkpoint_is_gone_starts_anew_and_says_so(vip_stand_in, tmp_path):
    run = Started(arguments(vip_stand_in, "checkpoint_every=1"), tmp_path)
    run.wait_for(lambda: run.steps() >= 2)
    run.send("SIGTERM")
    assert run.end()[0] == 143
    (run.folder() / "checkpoints/last.ckpt").unlink()
    again = finish(arguments(vip_stand_in, "trainer.max_epochs=1", "resume=auto"), tmp_path)
    assert f"{run.folder()} has no last.ckpt: starts anew" in again.text().splitlines()
    assert [step for step, validated in rows(again) if not validated] == [0, 1, 2, 3]
