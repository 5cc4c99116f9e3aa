"""Training of optical flow, such as FlowNet-S on FlyingChairs, from which ATEN starts."""

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
        network: a `FlowNetwork` and `torch.nn.Module`.
        label_set: label set of the data; flow does not use it.
        optimizer: makes the optimiser from parameter groups; None for a task that only scores.
        schedule: factor on the learning rate by progress through training, 0 to 1; None keeps it constant.
        rates: factors on the learning rate of parts of the network, by the parts' names. A small one for a pre-trained
            trunk keeps what it has learned.
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
        """Return the frame pairs of a batch.

        Args:
            batch: a `FlowBatch`; the flow may be missing.

        Returns:
            frames (N, 2, 3, H, W) in [0, 1] and the true flow (N, 2, H, W) from first to second in pixels, or None.
        """
        return batch["frames"], batch.get("flow")

    def estimate(self, frames: Tensor) -> Tensor:
        """Estimate the flow (B, 2, H, W) in pixels from the first to the second of frames (B, 2, 3, H, W) in [0, 1]."""
        flow: Tensor = self.network.estimate(frames)
        return flow

    def simplest(self, data: Any) -> nn.Module:
        """Return the baseline that any flow network should beat: no motion."""
        return Still()

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        metrics.update(batch["index"], self.estimate(batch["frames"]), batch["flow"])


class Still(FlowEstimator):
    """A flow network that always predicts zero."""

    name = "still"  # names its row in a run's metrics
    align_corners: ClassVar[bool] = False

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """Predict zero flow.

        Args:
            target: (B, 3, H, W).
            source: (B, 3, H, W).

        Returns:
            one scale of zeros (B, 2, H/4, W/4), and the same in place of a feature.
        """
        zero = torch.zeros(len(target), 2, target.shape[-2] // 4, target.shape[-1] // 4, device=target.device)
        return [zero], zero
