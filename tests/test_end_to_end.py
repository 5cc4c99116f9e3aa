"""`run.py` as a user runs it: train, test, predict, in one process and in two."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from commands import CLIPS, FRAMES, ROOT, TINY, only_run, run_py

from data_modules.datasets.vip import read_list
from data_modules.synthetic.layouts.ccp import CCPWriter
from partwise.io.video import VideoWriter

pytestmark = pytest.mark.process


TINY_DENSE = [
    "experiment=deeplab_ccp", "image_size=[64,48]", "model.network.feature.width=16", "trainer.max_epochs=3",
    "trainer.accelerator=cpu", "data.num_workers=0", "data.batch_size=3", "trainer.check_val_every_n_epoch=1",
    "trainer.precision=32-true", "data.splits={train: train, val: val}",
]  # fmt: skip


def killed_and_resumed(arguments, outputs):
    """A run's folder, killed behind its first checkpoint and then resumed to its end."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments, f"outputs={outputs}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(outputs.glob("*/*/checkpoints/last.ckpt")):
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.02)
    time.sleep(0.3)  # into some later step, perhaps into the writing of a checkpoint
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = only_run(outputs)
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    run_py(*arguments, f"outputs={outputs}", "resume=auto")
    assert only_run(outputs) == folder  # it went on in its own folder
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    return folder


def equal_weights(folder, other):
    one, two = (torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in (folder, other))
    assert one["global_step"] == two["global_step"]
    return all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())


@pytest.fixture(scope="module")
def trained(vip_stand_in, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("a=b [c]")  # awkward on purpose
    shown = run_py(*FRAMES, *TINY, f"data.root={vip_stand_in}", f"outputs={outputs}", "logger=wandb")
    return only_run(outputs), shown.stdout


@pytest.fixture(scope="module")
def odd_split(vip_stand_in):
    """Five test frames: two processes cannot share them evenly."""
    return f"data.splits.test=[{','.join(read_list(vip_stand_in, 'test')[:5])}]"


def test_a_run_leaves_what_it_promises(trained):
    folder, shown = trained
    for name in ("config.yaml", "run.json", "metrics.json", "metrics.csv", "log.txt", "checkpoints/last.ckpt",
                 "checkpoints/best.ckpt", "pictures/overlay.jpg", "pictures/overlay.mp4"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["data"] == "real"  # a given root is never called synthetic
    assert {"seed", "git", "versions", "host", "profile"} <= record.keys()
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))  # without an account
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"test/miou", "test_untrained/miou", "test_majority/miou", "test/part_authors_ap_vol"} <= metrics.keys()
    for words in ("profile=demo", "majority class", "the same, as it started", "overlay.jpg", "overlay.mp4"):
        assert words in shown


@pytest.mark.ddp
def test_two_processes_score_as_one_with_an_odd_number_of_samples(trained, vip_stand_in, odd_split, tmp_path):
    common = [f"ckpt={trained[0] / 'checkpoints/last.ckpt'}", f"data.root={vip_stand_in}", odd_split, *TINY]
    run_py("task=test", *common, f"outputs={tmp_path / 'one'}")
    run_py("task=test", *common, f"outputs={tmp_path / 'two'}", "trainer=ddp", "trainer.devices=2")
    one, two = (json.loads((only_run(tmp_path / n) / "metrics.json").read_text()) for n in ("one", "two"))
    assert one == pytest.approx(two, abs=1e-6)
    assert one["test/miou"] > 0


@pytest.mark.ddp
@pytest.mark.parametrize(
    "experiment",
    [FRAMES, CLIPS],
    ids=["frames", "clips"],
)
def test_two_processes_train_without_unused_parameters(experiment, vip_stand_in, tmp_path):
    run_py(*experiment, *TINY, f"data.root={vip_stand_in}", f"outputs={tmp_path}", "trainer=ddp", "trainer.devices=2")
    folder = only_run(tmp_path)
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert (folder / "pictures/overlay.jpg").exists()


def test_killed_and_resumed_it_ends_with_the_same_weights(vip_stand_in, tmp_path):
    arguments = [*FRAMES, *TINY, "trainer.max_epochs=3", "checkpoint_every=1", f"data.root={vip_stand_in}"]
    folder = killed_and_resumed(arguments, tmp_path / "killed")
    run_py(*arguments, f"outputs={tmp_path / 'whole'}")
    whole = only_run(tmp_path / "whole")
    assert equal_weights(folder, whole)
    with (folder / "metrics.csv").open() as rows:
        steps = [int(row["step"]) for row in csv.DictReader(rows) if row["train/loss"]]
    assert steps == sorted(set(steps))
    # The Trainer logs a step after its checkpoint: a kill in between costs that one row, never more.
    last = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert len(set(range(last)) - set(steps)) <= 1


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("ccp")
    CCPWriter(photos=11, size=(96, 64), workers=1).write(root)
    return root


def test_a_dense_parser_with_averaged_weights_resumes_scores_and_parses(photos, tmp_path):
    arguments = [*TINY_DENSE, f"data.root={photos}", "checkpoint_every=1"]
    folder = killed_and_resumed(arguments, tmp_path / "killed")
    run_py(*arguments, f"outputs={tmp_path / 'whole'}")
    assert equal_weights(folder, only_run(tmp_path / "whole"))
    ckpt = f"ckpt={folder / 'checkpoints/last.ckpt'}"
    views = "testing.views={scales:[0.75,1.0],flip:true}"
    run_py("task=test", ckpt, f"data.test_root={photos}", views, f"outputs={tmp_path / 'test'}", "data.num_workers=0")
    metrics = json.loads((only_run(tmp_path / "test") / "metrics.json").read_text())
    assert {"test/miou", "test/fg_accuracy", "test/iou_hair"} <= metrics.keys()
    assert "test/human_ap_50" not in metrics
    video = tmp_path / "walk.mp4"
    with VideoWriter(video, fps=5, size=(96, 128)) as writer:
        for n in range(3):
            writer.write(np.full((96, 128, 3), 80 * n, np.uint8))
    sizes = ["testing.size=[96,128]", "testing.smoothing=0.5"]
    run_py("task=predict", ckpt, f"input={video}", f"output={tmp_path / 'parsed'}", views, *sizes)
    assert len(list((tmp_path / "parsed" / "parts").glob("*.png"))) == 3


def test_predict_needs_the_checkpoint_alone(trained, vip_stand_in, tmp_path):
    pictures = vip_stand_in / "Images" / read_list(vip_stand_in, "test")[0].split("/")[0]
    output = tmp_path / "x=[1] y"
    run_py("task=predict", f"ckpt={trained[0] / 'checkpoints/best.ckpt'}", f"input={pictures}", f"output={output}")
    names = [p.stem for p in sorted(pictures.glob("*.jpg"))]
    for name in names:
        assert (output / "parts" / f"{name}.png").exists()
        assert (output / "persons" / f"{name}.png").exists()
        assert (output / "overlays" / f"{name}.jpg").exists()
    assert isinstance(json.loads((output / "persons.json").read_text()), list)
