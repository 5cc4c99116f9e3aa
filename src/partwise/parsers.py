"""From a network on batches of letterboxed images to a parser of frames, as `partwise.predict` wants one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.nn.deeplab import most_probable
from partwise.ops.resize import Letterbox
from partwise.smoothing import FlowSmoother


class FrameParser:
    """Parses frames one by one, or a few at a time; knows nothing of their order.

    Args:
        network: module with `parse(images, letterboxes)`.
        label_set: of its parts.
        image_size: side of its square input, or its (height, width).
        device: where to run.
        batch_size: frames parsed at once; more look ahead further and need more memory.
        smoothing: weight of the past in a video, see `FlowSmoother`; dense parsers only.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        image_size: int | Sequence[int],
        device: torch.device,
        batch_size: int = 4,
        smoothing: float = 0.0,
    ) -> None:
        if smoothing and not hasattr(network, "logits"):
            raise InputError(f"{type(network).__name__} is no dense parser: leave testing.smoothing at 0")
        self.network: Any = network.to(device).eval()
        self.label_set = label_set
        self.image_size, self.device, self.batch_size = image_size, device, batch_size
        self.smoothing = smoothing

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[Parsing]:
        """One Parsing, on the CPU, for each (H, W, 3) uint8 RGB frame, in order."""
        smoother = FlowSmoother(self.smoothing) if self.smoothing else None
        waiting: list[np.ndarray] = []
        for frame in frames:
            waiting.append(frame)
            if len(waiting) == self.batch_size:
                yield from self._parse(waiting, smoother)
                waiting = []
        if waiting:
            yield from self._parse(waiting, smoother)

    @torch.inference_mode()
    def _parse(self, frames: list[np.ndarray], smoother: FlowSmoother | None) -> list[Parsing]:
        boxes = [Letterbox.fit(frame.shape[:2], self.image_size) for frame in frames]
        canvases = [box.place(f) for box, f in zip(boxes, frames, strict=True)]
        images = torch.stack(canvases).permute(0, 3, 1, 2).to(self.device).float() / 255
        if smoother is None:
            parsings = self.network.parse(images, boxes)
        else:
            probs = self.network.logits(images).float().softmax(1)
            smooth = [smoother(canvas.numpy(), p) for canvas, p in zip(canvases, probs, strict=True)]
            parsings = most_probable(torch.stack(smooth), boxes)
        return [_to_cpu(parsing) for parsing in parsings]


def _to_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _to_cpu(v) for k, v in value.items()}
    return value.cpu()
