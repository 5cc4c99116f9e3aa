"""The thin base of every parsing task: steps, optimiser and metric wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from partwise.metrics.vip import VIPMetrics
from partwise.models.baselines.majority import MajorityClass
from partwise.models.finite import LossWatch
from partwise.ops.resize import Letterbox
from partwise.parsers import parse_video

LONGEST_VIDEO = 1_000_000  # frames; keeps the indices of two videos' frames apart


class ParsingTask(pl.LightningModule):
    """Train and score a parser; subclasses say which losses a batch has.

    Args:
        network: module with `losses` and `parse`.
        label_set: of the parts.
        optimizer: from parameter groups to an optimiser.
        schedule: factor on the learning rate by progress, 0 to 1, through training; see `partwise.schedules`.
        instances: whether persons and part instances are parsed and scored.
        metrics: from the label set to the figures of a split; None takes those of VIP.
        stretch: images fill the network's input instead of keeping their aspect.
        rates: factors on the learning rate of the network's parts, by their names.
        bias_rate: factor on the learning rate of biases beside that; Caffe's recipes have 2.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
        instances: bool = True,
        metrics: Callable[[LabelSet], nn.Module] | None = None,
        stretch: bool = False,
        rates: Mapping[str, float] | None = None,
        bias_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.label_set, self.instances = label_set, instances
        self.stretch, self.rates, self.bias_rate = stretch, dict(rates or {}), bias_rate
        self.optimizer, self.schedule = optimizer, schedule
        self._watch = LossWatch()
        figures = metrics or partial(VIPMetrics, instances=instances)
        self.val_metrics: Any = figures(label_set)
        self.test_metrics: Any = figures(label_set)

    def simplest(self, data: Any) -> nn.Module:
        """The guess of a DataModule's labels that any network should beat."""
        return MajorityClass.of(data)

    def plot(self, data: Any) -> dict[str, Any]:
        """Further figures of a finished run by their file's name; matplotlib's."""
        return {}

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Named losses of a batch; their sum is minimised. Without any, a task can only score."""
        raise InputError(f"{type(self).__name__} has no losses: it scores a network but cannot train one")

    def parse(self, batch: dict[str, Any]) -> list[Parsing]:
        """Parse the batch's images, at the size of their annotations."""
        parsings: list[Parsing] = self.network.parse(batch["images"], letterboxes(batch["images"], batch, self.stretch))
        return parsings

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The sum of the losses; stops at a loss that is not finite, see `LossWatch`."""
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        self._watch.add(self.global_step, losses, batch["sample_ids"])
        self._check_losses(wait=False)
        self.log_dict({f"train/{name}": value.detach() for name, value in {**losses, "loss": total}.items()})
        if self._watch.latest is not None:  # the bar shows numbers in every step, so they must have arrived
            self.log("loss", self._watch.latest, prog_bar=True, logger=False)
        return total

    def on_train_epoch_end(self) -> None:
        """Look at the losses of all steps."""
        self._check_losses(wait=True)

    def on_validation_start(self) -> None:
        """Look at the losses of all steps."""
        self._check_losses(wait=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep no weights from behind a loss that is not finite."""
        self._check_losses(wait=True)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score a batch of the validation split."""
        self._score(batch, self.val_metrics)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score a batch of the test split."""
        self._score(batch, self.test_metrics)

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
        if unknown := self.rates.keys() - dict(self.network.named_modules()):
            raise InputError(f"model.rates: {type(self.network).__name__} has no part {', '.join(sorted(unknown))}")
        groups = [
            {"params": parameters, **({} if decayed else {"weight_decay": 0.0})}
            for (_, decayed), parameters in self._groups().items()
        ]
        optimizer = self.optimizer(groups)
        if self.schedule is None and all(rate == 1 for rate, _ in self._groups()):
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        factors: list[Callable[[int], float]] = [
            partial(_factor, self.schedule, total, rate) for rate, _ in self._groups()
        ]
        return [optimizer], [{"scheduler": LambdaLR(optimizer, factors), "interval": "step"}]

    def _groups(self) -> dict[tuple[float, bool], list[nn.Parameter]]:
        """Parameters that train, by the factor on their learning rate and whether they are decayed."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for decayed in (True, False):
            for name, parameter in self.network.named_parameters():
                if parameter.requires_grad and (parameter.ndim > 1) == decayed:
                    rate = next((r for part, r in self.rates.items() if name.startswith(f"{part}.")), 1.0)
                    rate *= self.bias_rate if name.endswith(".bias") else 1.0
                    groups.setdefault((rate, decayed), []).append(parameter)
        return groups

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        if batch["annotations"] and isinstance(batch["annotations"][0], list):  # whole videos
            for video in range(len(batch["annotations"])):
                self._score_video(batch, video, metrics)
        else:
            metrics.update(batch["index"], self.parse(batch), batch["annotations"], batch["sample_ids"])

    def _score_video(self, batch: dict[str, Any], video: int, metrics: Any) -> None:
        frames, truths = batch["frames"][video], batch["annotations"][video]
        parsings = parse_video(
            self.network, (frame[None] for frame in frames), tuple(truths[0]["parts"].shape), self.stretch
        )
        for t, (parsing, truth) in enumerate(zip(parsings, truths, strict=True)):
            index = batch["index"][video] * LONGEST_VIDEO + t
            metrics.update([index], [parsing], [truth], [f"{batch['sample_ids'][video]}/{t:05d}"])

    def _log_split(self, split: str, metric: Any) -> None:
        # computed on all ranks together and equal on all
        self.log_dict({f"{split}/{name}": value for name, value in metric.compute().items()})
        metric.reset()

    def _check_losses(self, wait: bool) -> None:
        self._watch.check(Path(self.trainer.default_root_dir), wait)


def letterboxes(images: Tensor, batch: dict[str, Any], stretch: bool = False) -> list[Letterbox]:
    """Where each annotated picture lies on the canvas of images (..., H, W)."""
    canvas = (images.shape[-2], images.shape[-1])
    return [Letterbox.make(tuple(a["parts"].shape), canvas, stretch) for a in batch["annotations"]]


def _factor(schedule: Callable[[float], float] | None, total: int, rate: float, step: int) -> float:
    return rate if schedule is None else rate * schedule(min(step / total, 1.0))
