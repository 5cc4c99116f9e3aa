"""Callbacks and loggers that a user adds to a training, on the command line and from a folder of their own."""

import csv
import os

import pytest
from commands import FRAMES, TINY, only_run, run_py

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def run(vip_stand_in, tmp_path_factory):
    """Folder of a run with early stopping, a user's own callback and two loggers."""
    mine, outputs = tmp_path_factory.mktemp("mine"), tmp_path_factory.mktemp("outputs [1]")
    (mine / "my_callbacks.py").write_text(
        "import pathlib, pytorch_lightning as pl\n"
        "class Count(pl.Callback):\n"
        "    def __init__(self, file, step):\n"
        "        self.file, self.step, self.seen = pathlib.Path(file), step, 0\n"
        "    def on_train_batch_end(self, *batch):\n"
        "        self.seen += self.step\n"
        "        self.file.write_text(str(self.seen))\n"
    )
    (mine / "callbacks").mkdir()
    (mine / "callbacks" / "mine.yaml").write_text(
        "mine: {_target_: my_callbacks.Count, file: '${run.folder}/count.txt', step: 1}\n"
    )
    added = ["+callbacks=[early_stopping,mine]", "callbacks.early_stopping.patience=1",
             "callbacks.early_stopping.min_delta=101", "callbacks.mine.step=10", "logger=[csv,wandb]"]  # fmt: skip
    path = os.pathsep.join([str(mine), os.environ.get("PYTHONPATH", "")])
    run_py(f"--config-dir={mine}", *FRAMES, *TINY, "trainer.max_epochs=9", "monitor=val/miou", *added,
           f"data.root={vip_stand_in}", f"outputs={outputs}", PYTHONPATH=path)  # fmt: skip
    return only_run(outputs)


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_early_stopping_ends_a_training_that_does_not_improve(run):
    assert {row["epoch"] for row in rows(run) if row["val/miou"]} == {"0", "1"}
    assert (run / "metrics.json").is_file()  # and it is scored as ever


def test_a_users_own_callback_runs(run):
    steps = max(int(row["step"]) for row in rows(run) if row["train/loss"]) + 1
    assert (run / "count.txt").read_text() == str(10 * steps)


def test_both_loggers_write(run):
    assert any(row["train/loss"] for row in rows(run))
    (record,) = run.glob("wandb/offline-run-*/*.wandb")
    for text in (b"train/loss", b"val/miou", b"data=real", b"box_width"):  # metrics, tags and the config
        assert text in record.read_bytes()


def test_the_default_callbacks_stay(run):
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
