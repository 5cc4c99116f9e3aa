"""Dense parsers of single images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from partwise.labels import LabelSet
from partwise.models.task import ParsingTask


class DeepLabTask(ParsingTask):
    """Train and score a network such as `partwise.nn.deeplab.DeepLab` on `ImageBatch`es; persons are not needed.

    Args:
        network: module with `losses(images, parts)` and `parse`.
        label_set: see `ParsingTask`, as for the rest.
        optimizer: of the parameters.
        schedule: of the learning rate.
        options: metrics, stretch, rates.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] | None = None,
        schedule: Callable[[float], float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(network, label_set, optimizer, schedule, instances=False, **options)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Those of the network; persons play no part."""
        losses: dict[str, Tensor] = self.network.losses(batch["images"], batch["parts"])
        return losses
