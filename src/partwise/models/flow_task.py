"""Training of optical flow: FlowNet-S on FlyingChairs, with which ATEN starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partwise.labels import LabelSet
from partwise.metrics.flow import EndPointError
from partwise.models.task import ParsingTask
from partwise.nn.flownet import FlowEstimator


class FlowTask(ParsingTask):
    """Train and score a flow network on `FlowBatch`es.

    Args:
        network: a `FlowNetwork`, see `partwise.models.contract`.
        label_set: of the data; flow has no labels.
        optimizer: from parameter groups to an optimiser.
        schedule: see `ParsingTask`.
        rates: see `ParsingTask`; a small one for the trunk keeps what it was trained for before.
    """

    metrics: ClassVar[type[nn.Module]] = EndPointError

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(network, label_set, self.metrics, optimizer, schedule, rates=rates)

    def pairs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Frames (N, 2, 3, H, W) of a batch and the flow (N, 2, H, W) from first to second, where it is known."""
        return batch["frames"], batch.get("flow")

    def estimate(self, frames: Tensor) -> Tensor:
        """Estimate the flow (B, 2, H, W) in pixels from the first to the second of frames (B, 2, 3, H, W)."""
        flow: Tensor = self.network.estimate(frames)
        return flow

    def simplest(self, data: Any) -> nn.Module:
        """No motion at all."""
        return Still()

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        metrics.update(batch["index"], self.estimate(batch["frames"]), batch["flow"])


class Still(FlowEstimator):
    """A flow network that answers zero."""

    name = "still"  # of its row among a run's metrics
    align_corners: ClassVar[bool] = False

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, 3, H, W) images -> one scale of zeros, and no feature."""
        zero = torch.zeros(len(target), 2, target.shape[-2] // 4, target.shape[-1] // 4, device=target.device)
        return [zero], zero
