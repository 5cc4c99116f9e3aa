"""TCNet's training steps: its flow, on rendered pairs and then on the videos themselves; then everything together."""

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

    If the data provide the true flow (`data.true_flow` of a stand-in), the metrics include the end-point error of the
    flow to the earlier frames, l and s together.

    Args:
        arguments: positional arguments of `ParsingTask`.
        options: keyword arguments of `ParsingTask`.
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
        """Draw the fusion's weights, and the context of the first test clip that has all its frames.

        Args:
            data: DataModule of the run.

        Returns:
            figures by the names of their files; none if the fusion has several layers.
        """
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
        flow: estimates flow from the trunk's conv5_3 and conv3_3.
    """

    align_corners: ClassVar[bool] = True

    def __init__(self, trunk: VGG, flow: CorrelationFlow) -> None:
        super().__init__()
        self.trunk, self.flow = trunk, flow

    def forward(self, target: Tensor, source: Tensor) -> tuple[list[Tensor], Tensor]:
        """Estimate the flow between images.

        Args:
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            flows (B, 2, h, w) from target to source at strides 4, 8, ... 64, in units of `FLOW_UNIT` input pixels; the
            target's conv5_3.
        """
        conv3, conv5 = self.trunk(torch.cat([target, source]))
        now, then = conv5.chunk(2)
        return self.flow(now, then, conv3[: len(target)]), now


class RefinementTask(FlowTask):
    """Refine a flow network on videos without true flow (Eq. 1).

    A clip's last frame is reconstructed from each of the others. If the data provide the true flow (`data.true_flow` of
    a stand-in), the metrics include the end-point error.
    """

    metrics = Reconstruction

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Compute the mean of |I_t - w(I_{t-l}, O)|_1 over pixels and pairs, () by name."""
        frames, _ = self.pairs(batch)
        return {"reconstruction": self._difference(frames, self.estimate(frames)).mean()}

    def pairs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Pair each clip's last frame with each of the others; the clip varies slowest.

        Args:
            batch: a `ClipBatch`, whose true flow may be missing.

        Returns:
            frames (N, 2, 3, H, W) in [0, 1], the last frame first, and the true flow (N, 2, H, W) in pixels, or None.
        """
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
        """Compute |I_t - w(I_{t-l}, O)|_1 of pairs, (N, H, W) in 0..3."""
        now, then = frames.unbind(1)
        return (now - warp(then, flow, "border")).abs().sum(1)
