"""From a network on batches of letterboxed images to a parser of frames, as `partwise.predict` wants one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.nn.deeplab import STRIDE, most_probable
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
        bfloat16: convolve in half precision.
        stretch: fill the input with the frame, as the network was trained; else its aspect is kept.
    """

    def __init__(
        self,
        network: nn.Module,
        label_set: LabelSet,
        image_size: int | Sequence[int],
        device: torch.device,
        batch_size: int = 4,
        smoothing: float = 0.0,
        bfloat16: bool = False,
        stretch: bool = False,
    ) -> None:
        if smoothing and not hasattr(network, "logits"):
            raise InputError(f"{type(network).__name__} is no dense parser: leave testing.smoothing at 0")
        self.network: Any = network.to(device).eval()
        self.label_set = label_set
        self.image_size, self.device, self.batch_size = image_size, device, batch_size
        self.smoothing, self.bfloat16, self.stretch = smoothing, bfloat16, stretch

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

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, self.bfloat16)

    @torch.inference_mode()
    def _parse(self, frames: list[np.ndarray], smoother: FlowSmoother | None) -> list[Parsing]:
        boxes = [Letterbox.make(frame.shape[:2], self.image_size, self.stretch) for frame in frames]
        canvases = [box.place(f) for box, f in zip(boxes, frames, strict=True)]
        images = torch.stack(canvases).permute(0, 3, 1, 2).to(self.device).float() / 255
        if smoother is None:
            with self._precision():
                parsings = self.network.parse(images, boxes)
        else:
            with self._precision():
                probs = self.network.logits(images).float().softmax(1)
            smooth = [smoother(canvas.numpy(), p) for canvas, p in zip(canvases, probs, strict=True)]
            parsings = most_probable(torch.stack(smooth), boxes)
        return [to_cpu(parsing) for parsing in parsings]


class VideoParser(FrameParser):
    """Parses a video with a network that carries features over time; see `parse_video`."""

    @torch.inference_mode()
    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[Parsing]:
        """One Parsing, on the CPU, for each (H, W, 3) uint8 RGB frame, in order."""
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        native = (first.shape[0], first.shape[1])
        images = (self._image(frame, native) for frame in itertools.chain([first], frames))
        parsings = parse_video(self.network, images, native, self.stretch)
        while True:
            with self._precision():  # not around `yield`, where it would hold for the caller too
                parsing = next(parsings, None)
            if parsing is None:
                return
            yield to_cpu(parsing)

    def _image(self, frame: np.ndarray, native: tuple[int, int]) -> Tensor:
        if frame.shape[:2] != native:
            raise InputError(f"a frame is {frame.shape[:2]}, the first one {native}; a video has one size")
        canvas = Letterbox.make(native, self.image_size, self.stretch).place(frame)
        return canvas.permute(2, 0, 1)[None].to(self.device).float() / 255


def parse_video(
    network: Any, images: Iterable[Tensor], native: tuple[int, int], stretch: bool = False
) -> Iterator[Parsing]:
    """Parse a video's images (1, 3, H, W), letterboxed or stretched from (height, width) `native`, in order.

    A network with `features` (ATEN, FGFA) or `stream` (TCNet) sees them as a stream, in constant memory; any other one
    by one.
    """
    if hasattr(network, "features"):
        for feature in network.features(images):
            canvas = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
            yield network.heads.parse(feature, [Letterbox.make(native, canvas, stretch)])[0]
    elif hasattr(network, "stream"):
        for scores in network.stream(images):
            box = Letterbox.make(native, (scores.shape[-2], scores.shape[-1]), stretch)
            yield most_probable(scores.float().softmax(1), [box])[0]
    else:
        for image in images:
            yield network.parse(image, [Letterbox.make(native, (image.shape[-2], image.shape[-1]), stretch)])[0]


def make_parser(
    network: Any,
    label_set: LabelSet,
    image_size: int | Sequence[int],
    device: torch.device,
    smoothing: float = 0.0,
    bfloat16: bool = False,
    stretch: bool = False,
) -> FrameParser:
    """The parser that suits a network; see `FrameParser` and `VideoParser`."""
    kind = VideoParser if hasattr(network, "features") or hasattr(network, "stream") else FrameParser
    return kind(network, label_set, image_size, device, smoothing=smoothing, bfloat16=bfloat16, stretch=stretch)


def to_cpu(value: Any) -> Any:
    """Nested dicts of tensors, on the CPU."""
    if isinstance(value, dict):
        return {k: to_cpu(v) for k, v in value.items()}
    return value.cpu()
