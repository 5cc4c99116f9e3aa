"""The exponential moving average of the weights, which a run scores and keeps in their place."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialAverage(WeightAveraging):
    """Averages weights and buffers after every step: average <- d average + (1 - d) weights.

    d starts at 0.1 and grows to `decay`, min(decay, (1 + n) / (10 + n)) after n updates, so that the random start
    is soon forgotten.

    Args:
        decay: the largest d, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._exchanged = False  # whether the module holds the average, and the average the module's weights

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the module to the device that it will be trained on; it is not there yet."""
        if stage == "fit":
            self._average_model = Average(pl_module, trainer.strategy.root_device, self.decay)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the module hold the average."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._exchanged = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the module hold its own weights again."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._exchanged = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the network's weights, the module's own beside it, also within a validation."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._exchanged:
            own, average = checkpoint["state_dict"], checkpoint["current_model_state"]
            checkpoint.update(state_dict=average, current_model_state=own)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the module hold the average, also where a resumed training had no step left."""
        self.on_train_end(trainer, pl_module)


class Average(AveragedModel):
    """A copy of a module that follows it without making the host wait for the device.

    Args:
        module: to follow.
        device: of the copy.
        decay: the largest share of the average that an update keeps, in [0, 1); see `ExponentialAverage`.
    """

    def __init__(self, module: nn.Module, device: torch.device, decay: float) -> None:
        super().__init__(module, use_buffers=True)  # whose count of updates, read in each, stays on the CPU
        self.module.to(device)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the module's weights and buffers; the first time, copy them."""
        n = int(self.n_averaged)
        rate = 1 - min(self.decay, (1 + n) / (10 + n)) if n else None
        for average, current in zip(_tensors(self.module), _tensors(model), strict=True):
            average.copy_(current if rate is None else average + (current - average) * rate)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
