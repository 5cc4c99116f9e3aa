"""What the comparisons of an accelerator with the CPU share.

Without CUDA they are skipped. PARTWISE_DEVICE=cpu compares the CPU's fast convolutions with its plain ones instead,
to try the tests themselves out.
"""

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import composing
import pytest
import pytorch_lightning as pl
import torch
from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models.detection.rpn import RegionProposalNetwork

from partwise.checkpoints import standin
from partwise.run.build import make_scorer, make_task, make_trainer
from partwise.run.folder import Run
from partwise.run.stages import own_data

#: Stand-ins of a few pictures, by parameter and split; those without splits have as many as these together.
FEW = {
    "videos": {"train": 2, "val": 1, "test": 1}, "sequences": {"train": 2, "val": 1},
    "tracklets": {"train": 4, "val": 1, "test": 1}, "pairs": {"train": 4, "val": 2}, "images": {"train": 4, "val": 2},
    "photos": {"train": 6, "val": 4, "test": 1, "poses": 1},
}  # fmt: skip
FRAMES = 12  # of a sequence


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device():
    """The device to compare with the CPU."""
    chosen = os.environ.get("PARTWISE_DEVICE", "cuda")
    if chosen == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(chosen)


@pytest.fixture(autouse=True)
def exact():
    """Single precision throughout: tensor cores round to TF32's ten bits otherwise. Trainers' settings do not last."""
    backends = torch.backends
    before = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = False
    yield
    backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
    backends.cudnn.deterministic = backends.cudnn.benchmark = False


class Setup(NamedTuple):
    """An experiment at demo size on a stand-in of a few pictures."""

    cfg: Any
    data: Any
    train: dict[str, Any]  # a batch on the CPU
    evaluation: dict[str, Any]

    def task(self, device: torch.device):
        """The task with the seed's weights."""
        return make_task(self.cfg, self.data.label_set).to(device)

    def to(self, batch: dict[str, Any], device: torch.device):
        """A batch on a device, as a Trainer brings it there."""
        return self.data.transfer_batch_to_device(batch, device, 0)

    def fresh_data(self):
        """A DataModule without a Trainer's traces."""
        return instantiate(self.cfg.data)


@cache
def _setup(name: str, *overrides: str) -> Setup:
    cfg = composed(name, "data.batch_size=2", "data.num_workers=0", *overrides)
    if cfg.task != "train":
        pytest.skip(f"{name} trains nothing")
    data = instantiate(cfg.data)
    with FileLock(Path(tempfile.gettempdir()) / "partwise-gpu-tests.lock"):  # one process renders, the others wait
        data.prepare_data()
    pl.seed_everything(0, verbose=False)
    train, evaluation = (
        data.on_after_batch_transfer(next(iter(loader)), 0)
        for loader in (data.train_dataloader(), data.val_dataloader())
    )
    return Setup(cfg, data, train, evaluation)


def composed(name: str, *overrides: str):
    """The experiment's config with a stand-in of a few pictures, alone, and untrained weights but for a detector's.

    An untrained detector finds nobody, or others after a rounding error.
    """
    cfg = composing.composed(f"experiment={name}", *overrides)
    cfg.init = [each for each in cfg.init if "detector" in cfg.model.network and each in standin.names()]
    cfg.trainer.max_epochs = cfg.trainer.max_epochs or 1  # what its steps or stages train, the experiment can
    cfg.data = own_data(cfg)
    for data in (cfg.data, cfg.model.get("library")):
        if data is not None:
            _shrink(data.synthetic)
    return cfg


def _shrink(synthetic: DictConfig) -> None:
    """Leave a stand-in few pictures."""
    for key in FEW.keys() & synthetic.keys():
        whole = isinstance(synthetic[key], int)
        synthetic[key] = sum(FEW[key].values()) if whole else {split: FEW[key][split] for split in synthetic[key]}
    if "frames_per_sequence" in synthetic:
        synthetic.frames_per_sequence = FRAMES


@pytest.fixture(scope="session")
def setup():
    """From the name of an experiment, and overrides, to its `Setup`."""
    return _setup


@pytest.fixture(scope="session")
def both(device):
    """`both(work)`: of a function of a device, its results on the CPU and on the other device."""

    def run(work):
        cpu = work(torch.device("cpu"))
        plain = torch.backends.mkldnn.flags(enabled=False) if device.type == "cpu" else nullcontext()
        with plain:
            return cpu, work(device)

    return run


@pytest.fixture
def few_batches(tmp_path):
    """The Trainer that a run of an experiment has, for a few batches; `scorer` as `make_scorer` makes it."""

    def make(made, device, scorer=False, **options):
        cfg = made.cfg.copy()
        few = {"accelerator": "gpu" if device.type == "cuda" else "cpu", "max_epochs": 1, "precision": "32-true"}
        for key, value in (few | options).items():
            cfg.trainer[key] = value
        run = Run(tmp_path, resumed=False)
        return make_scorer(cfg, run) if scorer else make_trainer(cfg, run, made.data)

    return make


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
    monkeypatch.syspath_prepend(str(composing.ROOT / "scripts"))
    from benchmarks.synchronisations import synchronisations

    return synchronisations


@pytest.fixture
def train(setup, few_batches, counter, draws):
    """A training of two steps: what happened, and which of the parameters that train have moved."""

    def run(name, device, steps=2, overrides=(), **options):
        made = setup(name, *overrides)
        task, seen = made.task(torch.device("cpu")), Steps(counter)
        before = {n: p.detach().clone() for n, p in task.network.named_parameters() if p.requires_grad}
        trainer = few_batches(made, device, max_steps=steps, limit_val_batches=0, **options)
        trainer.callbacks.append(seen)
        with draws.of(task.network):
            trainer.fit(task, made.fresh_data())
        assert trainer.global_step == steps
        after = dict(task.network.named_parameters())
        return seen, {n: not torch.equal(p, after[n].cpu()) for n, p in before.items()}

    return run


class Draws:
    """What is random in training a detector: the same on every device, for the proposals too.

    The order of proposals whose scores differ by a rounding error is any, and which of them are suppressed or sampled
    follows from it. So the first pass tells the later ones its proposals.
    """

    def __init__(self) -> None:
        self.proposals: list[Any] = []

    @contextmanager
    def of(self, network: nn.Module):
        """Within, a pass of the network."""
        real, seen = torch.randperm, iter(list(self.proposals))
        first = not self.proposals
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)

        def randperm(*arguments: Any, device: Any = None, **options: Any) -> Tensor:
            if sys._getframe(1).f_globals["__name__"] != "torchvision.models.detection._utils":
                return real(*arguments, device=device, **options)  # the compiler draws too
            return real(*arguments, generator=generator).to(device or "cpu")

        def recorded(rpn: Any):
            filter_proposals = rpn.filter_proposals

            def run(proposals: Tensor, *arguments: Any) -> Any:
                if first:
                    self.proposals.append(filter_proposals(proposals, *arguments))
                    return self.proposals[-1]
                if (told := next(seen, None)) is None:  # a later step than the first pass had
                    return filter_proposals(proposals, *arguments)
                return tuple([x.to(proposals.device) for x in part] for part in told)

            return run

        finders = [m for m in network.modules() if isinstance(m, RegionProposalNetwork)]
        torch.randperm = randperm
        for rpn in finders:
            rpn.filter_proposals = recorded(rpn)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        try:
            yield
        finally:
            torch.randperm = real
            for rpn in finders:
                del rpn.filter_proposals


@pytest.fixture
def draws():
    return Draws()


def tensors(value: Any, name: str = "") -> dict[str, Tensor]:
    """Floating-point tensors in nested containers, by place."""
    if isinstance(value, Tensor):
        return {name: value.detach()} if value.is_floating_point() else {}
    if isinstance(value, dict):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return {}
    return {key: x for place, part in pairs for key, x in tensors(part, f"{name}/{place}").items()}


def far(cpu: Any, other: Any, tolerance: float) -> dict[str, float]:
    """Places where the largest difference exceeds the tolerance times the largest value, with what they exceed by."""
    first, second = tensors(cpu), tensors(other)
    assert first.keys() == second.keys()
    found = {}
    for name, expected in first.items():
        got = second[name].cpu()
        assert got.shape == expected.shape, f"{name}: {tuple(expected.shape)} on the CPU, {tuple(got.shape)}"
        if expected.numel():
            error = (got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-6)
            if not error <= tolerance:
                found[name] = float(error)
    return found


@pytest.fixture(scope="session")
def compare():
    return SimpleNamespace(tensors=tensors, far=far)
