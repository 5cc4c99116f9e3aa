"""TCNet's two steps of training: its flow, on rendered pairs and then on the videos themselves, and everything."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from partwise.metrics.flow import EndPointError, Reconstruction
from partwise.models.flow_task import FlowTask
from partwise.models.task import ParsingTask
from partwise.models.tcnet.model import TCNet
from partwise.models.tcnet.pictures import plot_context, plot_fusion_weights
from partwise.nn.flownet import CorrelationFlow, FlowEstimator
from partwise.nn.vgg import VGG
from partwise.ops.flow import warp


class TCNetTask(ParsingTask):
    """Train and score TCNet on `ClipBatch`es, everything together (section 3.4, step ii).

    Where the true flow is handed out (`data.true_flow` of a stand-in), the metrics hold the end-point error of the flow
    to the earlier frames, l and s together.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.flow_error = EndPointError()

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        super()._score(batch, metrics)
        if "flow" in batch and isinstance(self.network, TCNet):
            carried = self.network(batch["frames"])[1].carried
            for i, (frame, truth) in enumerate(zip(carried, batch["flow"].unbind(1), strict=True)):
                self.flow_error.update([len(carried) * n + i for n in batch["index"]], frame.flow, truth)

    def _log_split(self, split: str, metric: Any) -> None:
        super()._log_split(split, metric)
        if getattr(self.trainer.datamodule, "true_flow", False) and isinstance(self.network, TCNet):  # type: ignore[attr-defined]
            self.log_dict({f"{split}/{name}": value for name, value in self.flow_error.compute().items()})
            self.flow_error.reset()

    def plot(self, data: Any) -> dict[str, Figure]:
        """The fusion's weights, and the context of the first test clip that has all its frames."""
        if not isinstance(self.network, TCNet) or len(self.network.pixel_fusion.layers) > 1:
            return {}
        figures = {"fusion_weights": plot_fusion_weights(self.network, self.label_set)}
        dataset = data.dataset("test")
        wanted = [-offset for offset in self.network.offsets]
        for index in range(len(dataset)):
            sample = dataset[index]
            if sample["offsets"][:-1].tolist() == wanted:
                frames = sample["frames"].to(self.device) / 255
                figures["context"] = plot_context(self.network, frames, self.label_set, sample["parts"])
                break
        return figures


class TrunkFlow(FlowEstimator):
    """TCNet's feature extraction and flow estimation alone, for step i.

    Args:
        trunk: feature extraction.
        flow: for the trunk's conv5_3 and conv3_3.
    """

    align_corners: ClassVar[bool] = True

    def __init__(self, trunk: VGG, flow: CorrelationFlow) -> None:
        super().__init__()
        self.trunk, self.flow = trunk, flow

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images (B, 3, H, W) -> flows as `CorrelationFlow` gives them, and the target's conv5_3."""
        conv3, conv5 = self.trunk(torch.cat([target, source]))
        now, then = conv5.chunk(2)
        return self.flow(now, then, conv3[: len(target)]), now


class RefinementTask(FlowTask):
    """Refine a flow network on videos without any truth (Eq. 1).

    A clip's last frame is reconstructed from each of the others. The metrics hold the end-point error too where the
    truth is known (`data.true_flow` of a stand-in).
    """

    metrics = Reconstruction

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compute the mean |I_t - w(I_{t-l}, O)|_1 over pixels and pairs."""
        frames, _ = self.pairs(batch)
        return {"reconstruction": self._difference(frames, self.estimate(frames)).mean()}

    def pairs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Each clip's last frame before each of the others; the clip varies slowest."""
        *earlier, now = batch["frames"].unbind(1)
        frames = torch.stack([torch.stack([now, then], 1) for then in earlier], 1)
        flow = batch.get("flow")
        return frames.flatten(0, 1), None if flow is None else flow.flatten(0, 1)

    def _score(self, batch: dict[str, Any], metrics: Any) -> None:
        frames, truth = self.pairs(batch)
        flow = self.estimate(frames)
        size = (len(batch["frames"]), -1)
        differences = self._difference(frames, flow).view(size).mean(1)
        errors = None if truth is None else (flow - truth).norm(dim=1).reshape(size).mean(1)
        metrics.update(batch["index"], differences, errors)

    def _difference(self, frames: Tensor, flow: Tensor) -> Tensor:
        """(N, H, W) in 0..3."""
        now, then = frames.unbind(1)
        return (now - warp(then, flow, "border")).abs().sum(1)
