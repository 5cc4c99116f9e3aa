"""Checkpoints of a training: written whole, of plain containers, enough by themselves to parse pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from partwise.checkpoints.loading import KEY, load
from partwise.checkpoints.networks import check_weights
from partwise.checkpoints.reading import UnfitError, equal, read
from partwise.errors import InputError
from partwise.io.atomic import writing
from partwise.labels import LabelSet
from partwise.run.signals import Stopped, interruption

#: What a training goes on from, beside the weights.
STATE = ("pytorch-lightning_version", "epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints under a temporary name and renames them: a kill leaves the last whole one."""

    def __init__(self) -> None:
        self.expected: Mapping[str, Any] = {}  # what `Provenance` says of the run
        self.module = pl.LightningModule()  # its task, where `Provenance` says so
        self._written: set[str] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save under a temporary name in the same folder, then rename.

        Args:
            checkpoint: content.
            path: of the file.
            storage_options: of Lightning's interface.

        Raises:
            InputError: the file cannot be written, for example because the disk is full; an earlier one is kept.
        """
        path = Path(path)
        temporary = path.with_name(f"{path.name}.tmp")  # always the same one, so that kills leave one at most
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(checkpoint, temporary)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
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


def _write(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint through to the disk.

    Raises:
        OSError: the system cannot write it.
    """
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # torch's own, raised from the system's or while handling it
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        raise (cause or error) from None


def _ways_on(path: Path) -> str:
    """Say how a run can go on whose checkpoint cannot be used."""
    best = path.with_name("best.ckpt")
    copy = f"copy {best.name} over it to go on from there, or " if best.is_file() and best != path else ""
    return f"To repeat the command, {copy}delete it to start the run over"


class Provenance(pl.Callback):
    """Puts what `build_network` needs into every checkpoint.

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


class LastCheckpoint(Checkpoint):
    """Writes the checkpoint that a run goes on from: every few optimizer steps, and where a signal asks it to stop.

    Between optimizer steps there are accumulated gradients, which no checkpoint holds. A step is logged behind its
    checkpoint, so the training stops in the next hook.

    Args:
        path: of the file.
        every: optimizer steps from one checkpoint to the next.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self._step = 0
        self._leaving = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the resumed step; from now on a signal waits for the next."""
        self._step = trainer.global_step
        interruption.patient = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save behind an optimizer step, if it is time to or any process got a signal."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._leaving = _received_anywhere(trainer)
        if self._leaving or self._step % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave the training if it was saved for that."""
        self._leave()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the training if it was saved for that."""
        self._leave()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save and leave after a signal; the resumed training repeats the validation.

        Several processes validate different numbers of batches and cannot save together: they leave at their next step.
        """
        if interruption.received and interruption.patient and trainer.world_size == 1:
            trainer.save_checkpoint(self.path)
            raise Stopped(interruption.received)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the training if it was saved for that."""
        self._leave()

    def _leave(self) -> None:
        if self._leaving:
            raise Stopped(self._leaving)


def _received_anywhere(trainer: pl.Trainer) -> int:
    """The signal that this process or another one got; 0 for none."""
    if trainer.world_size == 1:
        return interruption.received
    own = torch.tensor(interruption.received, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="max"))
