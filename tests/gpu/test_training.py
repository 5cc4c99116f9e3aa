"""Every experiment trains and is scored by a Trainer on both devices."""

from collections import Counter
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from partwise import cli
from partwise.averaging import exponential_average

ROOT = Path(__file__).parents[2]
NAMES = sorted(cli.experiments(ROOT / "experiments"))
LOSS = 1e-3  # of the first step, as a share of the loss
SCORE = 1.0  # per cent, or 0.01 of a fraction: some pixels of an untrained network lie between two classes
#: Waits of the host in a training step, at most, by the network's class; those that find persons apart.
WAITS = {
    "ParsingRCNN": 0, "DeepLab": 0, "DeepLabV2": 0, "FCN8s": 0, "FlowNetS": 0, "TrunkFlow": 0, "ATEN": 0, "FGFA": 0,
    "TCNet": 0, "NetWarp": 0, "EMAdapt": 400,
}  # fmt: skip
PERSONS = 120  # what torchvision's matching and sampling need, two pictures
DIS = 12  # OpenCV's flow is computed on the CPU
LOVASZ = 12  # the labelled pixels are selected


class Steps(pl.Callback):
    """What a training does: its losses, and the waits of its later steps."""

    def __init__(self, counter):
        self.counter, self.losses, self.waits = counter, [], []

    def on_train_batch_start(self, trainer, task, batch, batch_idx):
        self.open = self.counter(task.device)
        self.waits.append(self.open.__enter__())

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        self.open.__exit__(None, None, None)
        self.losses.append(outputs["loss"].detach().float().cpu())


@pytest.fixture
def counter(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from benchmarks.synchronisations import synchronisations

    return synchronisations


@pytest.fixture
def train(setup, quiet_trainer, counter, draws):
    """A training of two steps: its steps, and whether all parameters that train have moved."""

    def run(name, device, steps=2, overrides=(), average=False, **options):
        made = setup(name, *overrides)
        task, seen = made.task(torch.device("cpu")), Steps(counter)
        before = {n: p.detach().clone() for n, p in task.network.named_parameters() if p.requires_grad}
        callbacks = [*([exponential_average(made.cfg.ema)] if average and made.cfg.ema else []), seen]
        trainer = quiet_trainer(made.cfg, device, max_steps=steps, limit_val_batches=0, callbacks=callbacks, **options)
        with draws.of(task.network):
            trainer.fit(task, made.fresh_data())
        assert trainer.global_step == steps
        moved = {n: not torch.equal(p, dict(task.network.named_parameters())[n].cpu()) for n, p in before.items()}
        return seen, moved

    return run


def bound(name, cfg):
    """Waits of a step that are allowed."""
    network = cfg.model.network
    kind = network._target_.rsplit(".", 1)[-1]
    if network.get("persons"):
        return WAITS[kind] + PERSONS
    return WAITS[kind] + (DIS if network.get("flow") == "dis" else 0) + (LOVASZ if network.get("lovasz") else 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_begins_as_on_the_cpu_and_seldom_waits(name, device, train, setup):
    cpu, _ = train(name, torch.device("cpu"), steps=1)
    other, moved = train(name, device, average=True, steps=2 if device.type == "cuda" else 1)
    assert other.losses[0].item() == pytest.approx(cpu.losses[0].item(), rel=LOSS)
    assert all(torch.isfinite(loss) for loss in other.losses)
    assert sum(moved.values()) > 0.5 * len(moved)
    waits = sum(other.waits[1:], Counter())
    print(f"\n{name}: {sum(waits.values())} waits of the host in a step")
    for place, count in waits.most_common():
        print(f"    {count:4d}  {place}")
    assert sum(waits.values()) <= bound(name, setup(name).cfg), dict(waits)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_trains(name, device, train):
    seen, moved = train(name, device, steps=2 if device.type == "cuda" else 1, precision="bf16-mixed")
    assert all(torch.isfinite(loss) for loss in seen.losses)
    assert sum(moved.values()) > 0.5 * len(moved)


@pytest.mark.parametrize("name", NAMES)
def test_validation_scores_alike(name, setup, both, quiet_trainer, draws):
    made = setup(name)

    def work(device):
        task = made.task(torch.device("cpu"))
        trainer = quiet_trainer(made.cfg, device)
        with draws.of(task.network):
            trainer.validate(task, made.fresh_data(), verbose=False)
        return {key: float(value) for key, value in trainer.callback_metrics.items()}

    cpu, other = both(work)
    assert cpu.keys() == other.keys()
    assert len(cpu) > 0
    for key, value in cpu.items():
        size = 1.0 if abs(value) > 1 else 0.01
        assert other[key] == pytest.approx(value, abs=SCORE * size, rel=1e-3, nan_ok=True), key
