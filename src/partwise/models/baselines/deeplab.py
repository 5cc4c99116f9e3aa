"""DeepLabv3+ on single images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from partwise.labels import LabelSet
from partwise.models.task import ParsingTask


class DeepLabTask(ParsingTask):
    """Train and score `partwise.nn.deeplab.DeepLab` on `ImageBatch`es; persons are not needed."""

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(network, label_set, optimizer, schedule, instances=False)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Cross-entropy and perhaps Lovasz-softmax; see `DeepLab.losses`."""
        losses: dict[str, Tensor] = self.network.losses(batch["images"], batch["parts"])
        return losses
