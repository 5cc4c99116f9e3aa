"""From a network on batches of letterboxed images to a parser of frames, as `partwise.predict` wants one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from partwise.batches import Parsing
from partwise.labels import LabelSet
from partwise.ops.resize import Letterbox


class FrameParser:
    """Parses frames one by one, or a few at a time; knows nothing of their order.

    Args:
        network: module with `parse(images, letterboxes)`.
        label_set: of its parts.
        image_size: side of its square input.
        device: where to run.
        batch_size: frames parsed at once; more look ahead further and need more memory.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        image_size: int,
        device: torch.device,
        batch_size: int = 4,
    ) -> None:
        self.network: Any = network.to(device).eval()
        self.label_set = label_set
        self.image_size, self.device, self.batch_size = image_size, device, batch_size

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[Parsing]:
        """One Parsing, on the CPU, for each (H, W, 3) uint8 RGB frame, in order."""
        waiting: list[np.ndarray] = []
        for frame in frames:
            waiting.append(frame)
            if len(waiting) == self.batch_size:
                yield from self._parse(waiting)
                waiting = []
        if waiting:
            yield from self._parse(waiting)

    @torch.inference_mode()
    def _parse(self, frames: list[np.ndarray]) -> list[Parsing]:
        boxes = [Letterbox.fit(frame.shape[:2], self.image_size) for frame in frames]
        images = torch.stack([box.place(f).permute(2, 0, 1) for box, f in zip(boxes, frames, strict=True)])
        parsings = self.network.parse(images.to(self.device).float() / 255, boxes)
        return [_to_cpu(parsing) for parsing in parsings]


def _to_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _to_cpu(v) for k, v in value.items()}
    return value.cpu()
