"""The thin base of every parsing task: steps, optimiser and metric wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
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
from partwise.media import write_json
from partwise.metrics.vip import VIPMetrics
from partwise.ops.resize import Letterbox


class ParsingTask(pl.LightningModule):
    """Train and score a parser; subclasses say which losses a batch has.

    Args:
        network: module with `losses` and `parse`.
        label_set: of the parts.
        optimizer: from parameter groups to an optimiser.
        schedule: factor on the learning rate by progress, 0 to 1, through training; see `partwise.schedules`.
        instances: whether persons and part instances are parsed and scored.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
        instances: bool = True,
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.label_set, self.instances = label_set, instances
        self.optimizer, self.schedule = optimizer, schedule
        self.val_metrics = VIPMetrics(label_set, instances=instances)
        self.test_metrics = VIPMetrics(label_set, instances=instances)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Named losses of a batch; their sum is minimised. Without any, a task can only score."""
        raise InputError(f"{type(self).__name__} has no losses: it scores a network but cannot train one")

    def parse(self, batch: dict[str, Any]) -> list[Parsing]:
        """Parse the batch's images, at the size of their annotations."""
        canvas = batch["images"].shape[-2:]
        native = [tuple(a["parts"].shape) for a in batch["annotations"]]
        return self.network.parse(batch["images"], [Letterbox.fit(size, canvas) for size in native])

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The sum of the losses; stops at a loss that is not finite."""
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise self._not_finite(losses, batch)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        self.log("train/loss", total.detach(), prog_bar=True)
        return total

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score a batch of the validation split."""
        self.val_metrics.update(batch["index"], self.parse(batch), batch["annotations"])

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score a batch of the test split."""
        self.test_metrics.update(batch["index"], self.parse(batch), batch["annotations"])

    def on_validation_epoch_end(self) -> None:
        """Log the split's figures."""
        self._log_split("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the split's figures."""
        self._log_split("test", self.test_metrics)

    def configure_optimizers(self) -> Any:
        """Weight decay on weights only, never on norms and biases."""
        if self.optimizer is None:
            raise InputError("this model was built without an optimiser; it can be tested but not trained")
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        free = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        optimizer = self.optimizer([{"params": decayed}, {"params": free, "weight_decay": 0.0}])
        if self.schedule is None:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = LambdaLR(optimizer, partial(_factor, self.schedule, total))
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _log_split(self, split: str, metric: VIPMetrics) -> None:
        # computed on all ranks together and equal on all
        self.log_dict({f"{split}/{name}": value for name, value in metric.compute().items()})
        metric.reset()

    def _not_finite(self, losses: dict[str, Tensor], batch: dict[str, Any]) -> InputError:
        file = Path(self.trainer.default_root_dir) / "not_finite.json"
        values = {name: value.item() for name, value in losses.items()}
        write_json(file, {"step": self.global_step, "losses": {k: repr(v) for k, v in values.items()},
                          "sample_ids": batch["sample_ids"]})  # fmt: skip
        bad = ", ".join(name for name, value in losses.items() if not torch.isfinite(value))
        return InputError(
            f"loss {bad} is not finite at step {self.global_step}; its samples are listed in {file}: "
            "look at them, or lower model.optimizer.lr"
        )


def _factor(schedule: Callable[[float], float], total: int, step: int) -> float:
    return schedule(min(step / total, 1.0))
