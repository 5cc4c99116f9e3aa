"""From a network on letterboxed images to a parser of frames, as `partwise.predict.predict` wants one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.ops.resize import Letterbox
from partwise.predict.smoothing import Smoothed


class FrameParser:
    """Parses pictures and videos with a network.

    Args:
        network: a `Network`, see `partwise.models.contract`.
        label_set: of its parts.
        image_size: side of its square input, or its (height, width).
        device: where to run.
        smoothing: weight of the past in a video, see `Smoothed`; dense parsers of images only.
        bfloat16: convolve in half precision.
        stretch: fill the input with the frame, as the network was trained; else its aspect is kept.
    """

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        image_size: int | Sequence[int],
        device: torch.device,
        smoothing: float = 0.0,
        bfloat16: bool = False,
        stretch: bool = False,
    ) -> None:
        self.network = (Smoothed(network, smoothing) if smoothing else network).to(device).eval()
        self.label_set, self.image_size, self.device = label_set, image_size, device
        self.bfloat16, self.stretch = bfloat16, stretch

    @torch.inference_mode()
    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[Parsing]:
        """Yield one Parsing, on the CPU, for each (H, W, 3) uint8 RGB frame of a video, in order.

        Raises:
            InputError: a frame has not the first one's size.
        """
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        letterbox = Letterbox.make(first.shape[:2], self.image_size, self.stretch)
        images = (self._image(frame, letterbox) for frame in itertools.chain([first], frames))
        parsings = self.network.stream(images, letterbox)
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, self.bfloat16):  # not around `yield`, for the caller
                parsing = next(parsings, None)
            if parsing is None:
                return
            yield to_cpu(parsing)

    def _image(self, frame: np.ndarray, letterbox: Letterbox) -> Tensor:
        if frame.shape[:2] != letterbox.native:
            raise InputError(f"a frame is {frame.shape[:2]}, the first one {letterbox.native}; a video has one size")
        return letterbox.place(frame).permute(2, 0, 1)[None].to(self.device).float() / 255


def to_cpu(value: Any) -> Any:
    """Return nested dicts of tensors, on the CPU."""
    if isinstance(value, dict):
        return {k: to_cpu(v) for k, v in value.items()}
    return value.cpu()
