"""What makes a resumed training equal to one that was never stopped: its position, and its random numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist


class Position(pl.Callback):
    """Sets the Trainer's counters to where a checkpoint was written: behind a step, before the validation that is due.

    Lightning counts a checkpoint of an epoch's last step as a finished epoch: it leaves out the validation, and its
    counts of epochs begun stay one behind, so that a second resumption trains a finished epoch again.
    """

    def __init__(self) -> None:
        self._within_epoch: bool | None = None  # None: nothing is resumed

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct the counters of a checkpoint before they are loaded."""
        self._within_epoch = settle(checkpoint["loops"]["fit_loop"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Correct what the counters alone do not decide."""
        within_epoch, self._within_epoch = self._within_epoch, None
        fetcher, loop = trainer.fit_loop._data_fetcher, trainer.fit_loop.epoch_loop
        if within_epoch is None or fetcher is None:
            return
        if not within_epoch:  # with max_steps, Lightning would otherwise count an epoch without a step
            loop.restarting = False
            return
        if loop.batch_progress.current.ready >= trainer.num_training_batches:
            fetcher.done = True  # it holds the next epoch's batches
        if not loop._should_check_val_fx(fetcher):  # the validation would count the step
            loop._batches_that_stepped += 1


def settle(progress: dict[str, Any]) -> bool:
    """Make the counters those of a step that is over, with its validation still to be run.

    Args:
        progress: state of the Trainer's fit loop, changed in place. Checkpoints are written in the hook at a step's
            end, when the step counts as processed, not yet as completed.

    Returns:
        Whether the checkpoint lies within an epoch, its end included; False once the epoch's end was counted.
    """
    batches, epochs = progress["epoch_loop.batch_progress"], progress["epoch_progress"]
    in_step = batches["current"]["completed"] < batches["current"]["ready"]
    if not in_step and epochs["current"]["ready"] <= epochs["current"]["processed"]:
        for count in (epochs["total"], epochs["current"]):
            count["completed"] = count["processed"]
        return False
    for count in (batches["total"], batches["current"]):
        count.update(dict.fromkeys(("started", "processed", "completed"), count["ready"]))
    for count in (epochs["total"], epochs["current"]):
        count.update(ready=count["processed"] + 1, started=count["processed"] + 1, completed=count["processed"])
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}  # which Lightning runs where it is due
    progress["epoch_loop.val_loop.batch_progress"] = {
        "total": begun, "current": dict.fromkeys(begun, 0), "is_last_batch": False,
    }  # fmt: skip
    return True


class RandomState(pl.Callback):
    """Carries torch's, numpy's and python's random numbers of every process across an interruption, as plain values.

    Evaluation leaves them as it found them, so that a run resumed behind one equals a run that went through it.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] = {}
        self._before_evaluation: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the states that the next step starts from; all processes must call it together."""
        own = self._pending or self._before_evaluation or random_state()
        if not (dist.is_available() and dist.is_initialized()):
            return {"ranks": [own]}
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, own)
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep this process's states for the first step, because setting up loaders may draw in between."""
        ranks = state_dict.get("ranks", [state_dict])  # once there was the first process's alone
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        self._pending = ranks[rank] if rank < len(ranks) else {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the states right before the first resumed step."""
        if self._pending:
            set_random_state(self._pending)
            self._pending = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the states."""
        self._before_evaluation = random_state()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the remembered states."""
        set_random_state(self._before_evaluation)
        self._before_evaluation = {}


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
