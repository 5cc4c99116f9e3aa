"""A toy task on the real loaders, samplers and checkpoints: interrupted anywhere, it ends with the same weights."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import Dataset

from data_modules.base import ParsingDataModule
from partwise.labels import FOREGROUND
from partwise.run.checkpointing import AtomicCheckpointIO, LastCheckpoint
from partwise.run.resuming import Position, RandomState

BATCHES, EPOCHS = 5, 3


class Numbers(Dataset[dict[str, Any]]):
    """Samples that follow from (index, epoch), so that a wrong draw shows in the weights."""

    def __len__(self):
        return BATCHES * 2 + 1

    def __getitem__(self, draw):
        index, epoch = draw
        return {"x": torch.tensor([index, epoch], dtype=torch.float32) / 10, "sample_ids": str(index)}


class Data(ParsingDataModule):
    def __init__(self, workers=0):
        super().__init__(FOREGROUND, root=None, splits={}, image_size=1, batch_size=2, num_workers=workers, seed=0)

    def make_stand_in(self):
        return None

    def make_dataset(self, root, stage):
        return Numbers()


class Toy(pl.LightningModule):
    def __init__(self, stop_after=None):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.Linear(16, 1))
        self.stop_after = stop_after

    def training_step(self, batch, _):
        if self.stop_after is not None and self.global_step >= self.stop_after:
            raise KeyboardInterrupt
        return self.net(batch["x"]).square().mean() + torch.rand(()) * self.net(batch["x"]).mean()

    def validation_step(self, batch, _):
        torch.rand(3)  # draws of the evaluation must not shift the training's
        self.log("val/score", self.net(batch["x"]).mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2], 0.5)]


def fit(folder, stop_after=None, every=1, workers=0, resume=False, validate=1):
    last = folder / "last.ckpt"
    callbacks = [Position(), RandomState(), LastCheckpoint(last, every)]
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, callbacks=callbacks, plugins=[AtomicCheckpointIO()], logger=False,
        use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, check_val_every_n_epoch=validate,
    )  # fmt: skip
    pl.seed_everything(1, verbose=False)
    toy = Toy(stop_after)
    try:
        trainer.fit(toy, Data(workers), ckpt_path=last if resume else None, weights_only=True)
    except (KeyboardInterrupt, SystemExit):
        assert stop_after is not None
    return trainer.global_step, torch.cat([p.detach().flatten() for p in toy.parameters()])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    steps, weights = fit(tmp_path_factory.mktemp("whole"))
    assert steps == BATCHES * EPOCHS
    return weights


@pytest.mark.process
@pytest.mark.parametrize("stop", range(1, BATCHES * EPOCHS))
def test_interrupted_anywhere_it_ends_the_same(stop, undisturbed, tmp_path):
    fit(tmp_path, stop_after=stop)
    steps, weights = fit(tmp_path, resume=True)
    assert steps == BATCHES * EPOCHS
    assert torch.equal(weights, undisturbed)


def test_a_rarer_checkpoint_repeats_the_steps_since(undisturbed, tmp_path):
    fit(tmp_path, stop_after=11, every=4)
    steps, weights = fit(tmp_path, resume=True, every=4)
    assert steps == BATCHES * EPOCHS
    assert torch.equal(weights, undisturbed)


@pytest.mark.process
def test_loader_processes_and_rare_validation_change_nothing(undisturbed, tmp_path):
    fit(tmp_path, stop_after=7, workers=2, validate=2)
    _, weights = fit(tmp_path, resume=True, workers=2, validate=2)
    _, whole = fit(tmp_path / "whole", workers=2, validate=2)
    assert torch.equal(weights, whole)
