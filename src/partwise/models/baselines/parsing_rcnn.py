"""Parsing R-CNN on single frames: ATEN's frame-level model, its "frame" baseline."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from partwise.models.task import ParsingTask


class ParsingRCNNTask(ParsingTask):
    """Train and score `partwise.nn.parsing_rcnn.ParsingRCNN` on `ImageBatch`es with persons."""

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Six losses with unit weights; see `ParsingHeads.losses`."""
        losses: dict[str, Tensor] = self.network.losses(batch["images"], batch["parts"], batch.get("instances"))
        return losses
