"""The task of all parsers: training and evaluation steps, optimiser and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.models.baselines.majority import MajorityClass
from partwise.models.finite import LossWatch
from partwise.models.parameters import freeze, group_parameters, rate_factors
from partwise.models.scoring import letterboxes, parse_annotated


class ParsingTask(pl.LightningModule):
    """Train and score a network that fulfils `partwise.models.contract`.

    Args:
        network: a `Network` and `torch.nn.Module`.
        label_set: label set of the parts.
        metrics: makes the metrics of a split from the label set, such as `VIPMetrics`.
        optimizer: makes the optimiser from parameter groups; None for a task that only scores.
        schedule: factor on the learning rate by progress through training, 0 to 1, such as those of
            `partwise.run.schedules`; None keeps it constant.
        stretch: images fill the network's input; otherwise they keep their aspect ratio.
        rates: factors on the learning rate of parts of the network, by the parts' names; 0 freezes a part.
        bias_rate: further factor on the learning rate of biases, 2 in Caffe's recipes.
    """

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        metrics: Callable[[LabelSet], nn.Module],
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
        stretch: bool = False,
        rates: Mapping[str, float] | None = None,
        bias_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.label_set, self.stretch = label_set, stretch
        self.optimizer, self.schedule = optimizer, schedule
        self.rates, self.bias_rate = dict(rates or {}), bias_rate
        freeze(network, self.rates)
        self._watch = LossWatch()
        self.val_metrics: Any = metrics(label_set)
        self.test_metrics: Any = metrics(label_set)

    def simplest(self, data: Any) -> nn.Module:
        """Return the baseline that any network should beat, for a DataModule: its most frequent class."""
        return MajorityClass.of(data)

    def plot(self, data: Any) -> dict[str, Any]:
        """Draw further matplotlib figures of a finished run.

        Args:
            data: DataModule of the run.

        Returns:
            figures by the names of their files.
        """
        return {}

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Compute the losses () of a batch by name; training minimises their sum."""
        losses: dict[str, Tensor] = self.network.losses(batch)
        return losses

    def parse(self, batch: Any) -> list[Parsing]:
        """Parse the annotated pictures of a batch at the size of their annotations."""
        parsings: list[Parsing] = self.network.parse(batch, letterboxes(batch, self.stretch))
        return parsings

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Compute and log the losses of a batch.

        Args:
            batch: training batch.
            batch_idx: not used; Lightning passes it.

        Returns:
            () sum of the losses.

        Raises:
            InputError: a loss is not finite.
        """
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        self._watch.add(self.global_step, losses, batch["sample_ids"])
        self._check_losses(wait=False)
        self.log_dict({f"train/{name}": value.detach() for name, value in {**losses, "loss": total}.items()})
        if self._watch.latest is not None:  # the progress bar shows numbers in every step, so they must be on the CPU
            self.log("loss", self._watch.latest, prog_bar=True, logger=False)
        return total

    def on_train_epoch_end(self) -> None:
        """Check that the losses of all steps are finite."""
        self._check_losses(wait=True)

    def on_validation_start(self) -> None:
        """Check that the losses of all steps are finite."""
        self._check_losses(wait=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the losses of all steps are finite, so that no weights from after a failure are saved."""
        self._check_losses(wait=True)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Update the metrics of the validation split.

        Args:
            batch: batch with annotations.
            batch_idx: not used; Lightning passes it.
        """
        self._score(batch, self.val_metrics)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Update the metrics of the test split.

        Args:
            batch: batch with annotations.
            batch_idx: not used; Lightning passes it.
        """
        self._score(batch, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation split."""
        self._log_split("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test split."""
        self._log_split("test", self.test_metrics)

    def configure_optimizers(self) -> Any:
        """Make the optimiser, and a schedule if the learning rate changes or differs between parameters.

        Raises:
            InputError: the task was built without an optimiser, or `rates` names a part that the network does not have.
        """
        if self.optimizer is None:
            raise InputError("this model was built without an optimiser; it can be tested but not trained")
        groups = group_parameters(self.network, self.rates, self.bias_rate)
        optimizer = self.optimizer([group.options() for group in groups])
        if self.schedule is None and all(group.rate == 1 for group in groups):
            return optimizer
        factors = rate_factors(groups, self.schedule, int(self.trainer.estimated_stepping_batches))
        return [optimizer], [{"scheduler": LambdaLR(optimizer, factors), "interval": "step"}]

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        for scored in parse_annotated(self.network, batch, self.stretch):
            metrics.update(*scored)

    def _log_split(self, split: str, metric: Any) -> None:
        # Metrics are computed over all ranks and are equal on all.
        self.log_dict({f"{split}/{name}": value for name, value in metric.compute().items()})
        metric.reset()

    def _check_losses(self, wait: bool) -> None:
        self._watch.check(Path(self.trainer.default_root_dir), wait)
