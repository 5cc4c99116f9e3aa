"""A callback of a user that kills its own process, as the system does."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytorch_lightning as pl


class KillAt(pl.Callback):
    """Kill the process, every one of several.

    Args:
        step: optimizer steps before.
        behind: kill between that optimizer step and its checkpoint, rather than in the next step.
    """

    def __init__(self, step: int, behind: bool = False) -> None:
        self.step, self.behind = step, behind

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Kill in a step."""
        if not self.behind and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Kill behind a step."""
        if self.behind and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
