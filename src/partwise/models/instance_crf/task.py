"""Training of the Instance CRF, and the figure of its terms."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from partwise.models.instance_crf.model import InstanceCRF
from partwise.models.instance_crf.pictures import plot_terms
from partwise.models.task import ParsingTask

LOOKED_AT = 20  # test pictures among which one with several persons is searched


class InstanceCRFTask(ParsingTask):
    """Train and score an Instance CRF; see `ParsingTask`."""

    @torch.inference_mode()
    def plot(self, data: Any) -> dict[str, Figure]:
        """Draw the terms of a test picture with the most detected persons among the first ones.

        Args:
            data: DataModule of the run.

        Returns:
            figures by the names of their files; none where nobody is found, or for a baseline.
        """
        network = self.network
        if not isinstance(network, InstanceCRF):
            return {}
        loader = data.test_dataloader()
        best: tuple[int, Any, Any] | None = None
        for index in range(min(LOOKED_AT, len(loader.dataset))):
            batch = data.on_after_batch_transfer(loader.collate_fn([loader.dataset[index]]), 0)
            batch = {**batch, "images": batch["images"].to(self.device)}
            (found,) = network.detector(batch)
            if len(found.scores) > (best[0] if best else 0):
                best = len(found.scores), batch["images"], found
        if best is None:
            return {}
        _, images, found = best
        Q = network.semantic.logits(images).float().softmax(1)[0].cpu()
        image = (images[0].permute(1, 2, 0) * 255).byte().cpu().numpy()
        found = found._replace(boxes=found.boxes.cpu(), scores=found.scores.cpu())
        crf = network.crf
        return {"terms": plot_terms(image, Q, found, network.unary.w.tolist(), crf.weights.tolist(), crf.theta)}
