"""A toy task under the project's own Trainer: stopped anywhere and however often, it ends bit for bit the same.

A checkpoint is all that a resumed run knows. If a run resumed from step k writes the same later checkpoints as the one
that was never stopped, every number of stops at whatever steps ends the same; `slow` tries all pairs of stops out.
"""

import csv
import shutil
import signal
from itertools import combinations
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from checkpoint_files import differences
from hydra import compose, initialize_config_dir
from pytorch_lightning.callbacks import Checkpoint
from torch import nn
from torch.utils.data import Dataset

from data_modules.base import ParsingDataModule
from partwise.labels import FACTS
from partwise.run.build import make_trainer
from partwise.run.folder import Run
from partwise.run.signals import Stopped, interruption

BATCHES, EPOCHS = 4, 3
#: Overrides of the config, and optimizer steps of an epoch.
VARIANTS = {
    "plain": ([], 4),
    "average": (["ema=0.9"], 4),
    "accumulated": (["trainer.accumulate_grad_batches=2"], 2),
    "accumulated over a remainder": (["trainer.accumulate_grad_batches=3", "ema=0.9"], 2),
    "rare validation": (["trainer.check_val_every_n_epoch=2", "ema=0.9"], 4),
    "validation within epochs": (["+trainer.val_check_interval=2"], 4),
    "no validation": (["trainer.limit_val_batches=0", "callbacks.best=null"], 4),
    "counted in steps": (["trainer.max_epochs=-1", "trainer.max_steps=12", "ema=0.9"], 4),
}


class Killed(BaseException):
    """Ends a run as a kill does: nothing is written on the way."""


class Numbers(Dataset[dict[str, Any]]):
    """Samples that follow from (index, epoch), so that a wrong draw shows in the weights."""

    def __len__(self):
        return BATCHES * 2 + 1

    def __getitem__(self, draw):
        return {"x": torch.tensor(draw, dtype=torch.float32) / 10, "sample_ids": str(draw.sample)}


class Data(ParsingDataModule):
    def __init__(self, workers=0):
        super().__init__(FACTS, root=None, splits={}, image_size=1, batch_size=2, num_workers=workers, seed=0)

    def make_stand_in(self):
        return None

    def make_dataset(self, root, stage):
        return Numbers()


class Toy(pl.LightningModule):
    """A network with dropout, running statistics and draws of its own, with momentum and a schedule."""

    def __init__(self, kill=None):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.kill = kill

    def training_step(self, batch, _):
        self._disturb("in", self.global_step)
        loss = self.network(batch["x"]).square().mean() + torch.rand(()) * self.network(batch["x"]).mean()
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch, _):
        self._disturb("validating", self.global_step)
        torch.rand(3)  # draws of the evaluation must not shift the training's
        self.log("val/score", self.network(batch["x"]).mean())

    def _disturb(self, where, step):
        if self.kill == (where, step):
            raise Killed
        if self.kill == ("signal " + where, step):
            signal.raise_signal(signal.SIGTERM)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedules = [
            {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9), "interval": interval}
            for interval in ("step", "epoch")
        ]
        return [optimizer], schedules


class KillBehind(pl.Callback):
    """Kills a run between an optimizer step and its checkpoint."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        pl_module._disturb("behind", trainer.global_step)


class Keep(Checkpoint):
    """Copies what the run folder holds right behind every checkpoint."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def on_train_batch_end(self, trainer, *_):
        run = self.folder.parent / "run"
        if (run / "checkpoints/last.ckpt").exists():
            kept = self.folder / str(trainer.global_step)
            if not kept.exists():
                shutil.copytree(run, kept)


class Runs:
    """Trainings of one variant, all in the same folder."""

    steps: int
    stops: range
    end: dict[str, Any]
    logged: list[tuple[int, bool]]

    def __init__(self, folder, overrides, root):
        self.folder = folder
        with initialize_config_dir(str(root / "experiments"), version_base="1.3"):
            self.cfg = compose(
                "config",
                overrides=[
                    "experiment=fcn8s_facts", "trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}",
                    "trainer.enable_progress_bar=false", "checkpoint_every=1",
                    "trainer.precision=32-true", "trainer.log_every_n_steps=1", "monitor=val/score",
                    "trainer.check_val_every_n_epoch=1", *overrides,
                ],
            )  # fmt: skip

    def fit(self, kept=None, kill=None, resume=True, workers=0):
        """Train in the run's folder; what each step left behind goes to the folder `kept`."""
        run = Run(self.folder / "run", resume)
        (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        data, toy = Data(workers), Toy(kill)
        trainer = make_trainer(self.cfg, run, data)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        callbacks.insert(0, KillBehind())
        if kept:
            callbacks.append(Keep(self.folder / kept))
        pl.seed_everything(1, verbose=False)
        try:
            with interruption.taken():
                trainer.fit(toy, data, ckpt_path=run.checkpoint, weights_only=True)
        except (Killed, Stopped):
            return
        assert kill is None, "it was to be killed"
        trainer.save_checkpoint(run.last)

    def start_anew(self, kept=None):
        """Empty the run's folder, or put back what it held."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        if kept:
            shutil.copytree(kept, self.folder / "run")

    def state(self, folder="run"):
        return torch.load(self.folder / folder / "checkpoints/last.ckpt", weights_only=True)

    def rows(self):
        with (self.folder / "run/metrics.csv").open(newline="") as file:
            return [(int(row["step"]), bool(row.get("val/score"))) for row in csv.DictReader(file)]


QUICK = ("plain", "accumulated over a remainder")


PARAMETERS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.process) for name in VARIANTS]
#: Of the tests for variants that validate.
validating = pytest.mark.parametrize(
    "whole", [p for p, name in zip(PARAMETERS, VARIANTS, strict=True) if name != "no validation"], indirect=True
)


@pytest.fixture(scope="module", params=PARAMETERS)
def whole(request, tmp_path_factory):
    """A training that was never stopped."""
    overrides, steps = VARIANTS[request.param]
    runs = Runs(tmp_path_factory.mktemp("runs"), overrides, request.config.rootpath)
    runs.fit("whole", resume=False)
    runs.steps = steps * EPOCHS
    # Lightning leaves out the validation that is due once max_steps are done.
    runs.stops = range(1, runs.steps + (request.param != "counted in steps"))
    runs.end, runs.logged = runs.state(), runs.rows()
    assert runs.end["global_step"] == runs.steps
    return runs


def check(runs, lost=()):
    """The run ended as the whole one did, and its table lacks at most the rows of the steps `lost`."""
    assert differences(runs.end, runs.state()) == []
    assert len(runs.rows()) == len(set(runs.rows())), "rows are repeated"
    assert set(runs.logged) - set(runs.rows()) <= {(step, False) for step in lost}
    assert set(runs.rows()) <= set(runs.logged)


def test_resumed_anywhere_it_writes_the_same_checkpoints(whole):
    for k in whole.stops:
        whole.start_anew(whole.folder / "whole" / str(k))
        shutil.rmtree(whole.folder / "again", ignore_errors=True)
        whole.fit("again")
        for later in range(k + 1, whole.steps + 1):
            found = differences(whole.state(f"whole/{later}"), whole.state(f"again/{later}"))
            assert found == [], f"resumed at {k}, step {later} differs"
        check(whole, lost=[k - 1])


@validating
def test_the_best_checkpoint_in_place_of_the_last_goes_on_too(whole):
    best = whole.folder / "best.ckpt"
    whole.start_anew(whole.folder / "whole" / str(whole.steps))
    shutil.copy(whole.folder / "run/checkpoints/best.ckpt", best)
    whole.start_anew()
    (whole.folder / "run/checkpoints").mkdir(parents=True)
    shutil.copy(best, whole.folder / "run/checkpoints/last.ckpt")
    whole.fit()
    assert differences(whole.end, whole.state()) == []


def test_stopped_by_signals_in_steps_it_loses_nothing(whole):
    stop_by_signals(whole, "in", [1, whole.steps * 2 // 3 - 1])


@validating
def test_stopped_by_signals_in_validations_it_loses_nothing(whole):
    stop_by_signals(whole, "validating", [step + 1 for step, validated in whole.logged if validated][:2])


def stop_by_signals(whole, where, stops):
    """Signals behind each of which the run goes on."""
    assert stops
    whole.start_anew()
    for n, stop in enumerate(stops):
        whole.fit(kill=(f"signal {where}", stop), resume=n > 0)
        assert whole.state()["global_step"] == stop + (where == "in")  # at the end of the step that it came in
    whole.fit()
    check(whole)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in", "behind"])
def test_every_pair_of_kills_ends_the_same(where, whole):
    for one, two in combinations(range(1, whole.steps), 2):
        whole.start_anew()
        whole.fit(kill=(where, one), resume=False)
        whole.fit(kill=(where, two))
        whole.fit()
        behind = where == "behind"
        check(whole, lost=(one - 1 - behind, two - 1 - behind))


def test_loader_processes_and_rare_checkpoints_change_nothing(tmp_path, request):
    runs = Runs(
        tmp_path, ["ema=0.9", "checkpoint_every=3", "trainer.check_val_every_n_epoch=2"], request.config.rootpath
    )
    runs.fit(resume=False)
    runs.end, runs.logged = runs.state(), runs.rows()
    runs.start_anew()
    for kill in (("in", 4), ("behind", 9), ("in", 8), None):
        runs.fit(kill=kill, resume=kill != ("in", 4), workers=1)
    check(runs, lost=[2, 5])
