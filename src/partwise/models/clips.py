"""Training and scoring of the parsers of clips: ATEN, and DFF and FGFA beside it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from partwise.batches import Parsing
from partwise.models.task import ParsingTask, letterboxes


class ClipTask(ParsingTask):
    """Train and score a network on `ClipBatch`es, whose last frame is the labelled one."""

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The heads' losses with unit weights (ATEN Eq. 7)."""
        losses: dict[str, Tensor] = self.network.losses(
            batch["frames"], batch["offsets"], batch["parts"], batch.get("instances")
        )
        return losses

    def parse(self, batch: dict[str, Any]) -> list[Parsing]:
        """Parse the labelled frames, at the size of their annotations."""
        parsings: list[Parsing] = self.network.parse(
            batch["frames"], batch["offsets"], letterboxes(batch["frames"], batch, self.stretch)
        )
        return parsings
