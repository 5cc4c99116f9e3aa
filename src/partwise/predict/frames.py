"""Parsers of frames for `partwise.predict.predict`, made of a network on letterboxed images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        network: a `Network` of `partwise.models.contract`.
        label_set: label set of its parts.
        image_size: side of its square input in pixels, or its (height, width).
        device: device of the network.
        smoothing: weight of earlier frames in a video, 0 (none) to below 1, for dense parsers of images only.
        bfloat16: run convolutions in bfloat16.
        stretch: frames fill the input, as in the network's training; otherwise they keep their aspect ratio.

    Raises:
        InputError: the network is no dense parser of images, and `smoothing` is not 0.
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
        """Parse a video.

        Args:
            frames: (H, W, 3) uint8 RGB each, of one size, in order.

        Yields:
            one parsing per frame at its size, on the CPU, in order.

        Raises:
            InputError: a frame's size differs from the first one's, or `smoothing` is out of range.
        """
        yield from self._parsed(frames, self.network.stream)

    def _parsed(
        self, frames: Iterable[np.ndarray], parse: Callable[[Iterator[Tensor], Letterbox], Iterator[Parsing]]
    ) -> Iterator[Parsing]:
        """Parse a video by a function of images on the canvas, as `Network.stream` is one."""
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        letterbox = Letterbox.make(first.shape[:2], self.image_size, self.stretch)
        images = (self._image(frame, letterbox) for frame in itertools.chain([first], frames))
        parsings = parse(images, letterbox)
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, self.bfloat16):  # `yield` stays outside of autocast
                parsing = next(parsings, None)
            if parsing is None:
                return
            yield to_cpu(parsing)

    def _image(self, frame: np.ndarray, letterbox: Letterbox) -> Tensor:
        if frame.shape[:2] != letterbox.native:
            raise InputError(f"a frame is {frame.shape[:2]}, the first one {letterbox.native}; a video has one size")
        return letterbox.place(frame).permute(2, 0, 1)[None].to(self.device).float() / 255


def to_cpu(value: Any) -> Any:
    """Move a tensor, or the tensors of nested dictionaries, to the CPU."""
    if isinstance(value, dict):
        return {k: to_cpu(v) for k, v in value.items()}
    return value.cpu()
