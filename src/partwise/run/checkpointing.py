"""Checkpoints of a training: written whole, of plain containers, enough by themselves to parse pictures."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from partwise.checkpoints.loading import KEY, load
from partwise.checkpoints.networks import check_weights
from partwise.checkpoints.reading import UnfitError, equal, read
from partwise.errors import InputError
from partwise.labels import LabelSet

#: What a training goes on from, beside the weights.
STATE = ("pytorch-lightning_version", "epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints under a temporary name and renames them: a kill leaves the last whole one."""

    def __init__(self) -> None:
        self.expected: Mapping[str, Any] = {}  # what `Provenance` says of the run
        self.module = pl.LightningModule()  # its task, where `Provenance` says so
        self._written: set[str] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save under a temporary name, then rename.

        Args:
            checkpoint: content.
            path: of the file.
            storage_options: of Lightning's interface.
        """
        temporary = Path(f"{path}.tmp")
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)
        self._written.add(str(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint to go on from; one without a description where the Trainer has no `Provenance`.

        Args:
            path: of the file.
            map_location: of Lightning's interface; tensors are read to the CPU.
            weights_only: of Lightning's interface; no code is ever unpickled.

        Returns:
            The checkpoint.

        Raises:
            InputError: the file cannot be read, holds weights alone, or is of another network or data than the run.
        """
        try:
            checkpoint: dict[str, Any] = load(path) if self.expected else read(Path(path))
        except InputError as error:
            raise InputError(f"{error}. {_ways_on(Path(path))}") from error
        other = [name for name, value in self.expected.items() if not equal(checkpoint[KEY].get(name, value), value)]
        if other:
            raise InputError(f"{path} is not of this run, its {other[0]} is another: start a new run without resume=")
        if missing := [name for name in STATE if name not in checkpoint]:
            raise InputError(f"{path} has no {missing[0]}, which going on takes: start a new run with init=[{path}]")
        if self.expected:
            try:
                check_weights(self.module, checkpoint["state_dict"])
            except UnfitError as error:
                raise InputError(f"{path}: {error}. {_ways_on(Path(path))}") from error
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint that this process wrote: the list of older ones that a checkpoint holds may be wrong."""
        if str(path) in self._written:
            Path(path).unlink(missing_ok=True)


def _ways_on(path: Path) -> str:
    """Say how a run can go on whose checkpoint cannot be used."""
    best = path.with_name("best.ckpt")
    copy = f"copy {best.name} over it to go on from there, or " if best.is_file() and best != path else ""
    return f"To repeat the command, {copy}delete it to start the run over"


class Provenance(pl.Callback):
    """Puts what `load_network` needs into every checkpoint.

    Args:
        experiment: name of the experiment.
        network: `_target_` and arguments of the network, plain containers.
        label_set: of its parts.
        image_size: side of its square input, or its (height, width).
        synthetic: whether it was trained on the stand-in.
        stretch: whether images fill the input instead of keeping their aspect.
    """

    def __init__(
        self,
        *,
        experiment: str,
        network: Mapping[str, Any],
        label_set: LabelSet,
        image_size: int | Sequence[int],
        synthetic: bool,
        stretch: bool = False,
    ) -> None:
        self.state = {
            "experiment": experiment,
            "network": dict(network),
            "label_set": label_set.state(),
            "image_size": image_size,
            "synthetic": synthetic,
            "stretch": stretch,
        }

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell the checkpoint reader what a checkpoint to go on from must hold."""
        if isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            trainer.strategy.checkpoint_io.expected = self.state
            trainer.strategy.checkpoint_io.module = pl_module

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the description to a checkpoint."""
        checkpoint[KEY] = self.state


class RandomState(pl.Callback):
    """Carries torch's, numpy's and python's random numbers across an interruption, as plain values.

    Evaluation leaves them as it found them, so that a run resumed behind one equals a run that went through it.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None
        self._before_evaluation: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the generators' states now."""
        return random_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states for the first step, because setting up loaders may draw in between."""
        self._pending = state_dict

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the states right before the first resumed step."""
        if self._pending is not None:
            set_random_state(self._pending)
            self._pending = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the states."""
        self._before_evaluation = random_state()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the remembered states."""
        set_random_state(self._before_evaluation)


def random_state() -> dict[str, Any]:
    """Return the states of the global generators, in containers that `torch.load(weights_only=True)` accepts."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries draw from it
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the global generators to what `random_state` returned."""
    name, keys, position, has_gauss, cached = state["numpy"]
    version, internal, gauss = state["python"]
    torch.set_rng_state(state["torch"].cpu())
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
