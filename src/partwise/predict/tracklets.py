"""Parsing of tracklets: detect persons, track them, parse their crops, and paste the results into the frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from partwise.arrays import Float32Array, Float64Array, Picture
from partwise.batches import InstanceMap, Parsing
from partwise.labels import LabelSet
from partwise.ops.resize import canvas_size
from partwise.predict.detectors import Detector
from partwise.predict.kcf import KCF

SCALES = (1 / 1.05, 1.0, 1.05)  # factors on a box's size that the scale search tries
#: When a tracklet ends (`Tracklet`): a box counts as whole if this fraction of it is in the frame; the fraction of the
#: usual response at or below which it has fallen; the number of such frames in a row.
EDGE, FALL, FALLEN = 0.95, 0.5, 3
#: A tracklet also ends if less than this fraction of its box is parsed as a person, in this number of frames in a row.
PARSED, UNPARSED = 0.02, 10
_USUAL = 0.05  # weight of a new response in the running mean
MARGIN = 1.1  # size of a crop relative to its box


class Tracklet:
    """A person who is tracked until they leave.

    They have left when their box extends beyond the frame's edge and the response is at most `FALL` times the usual one
    in `FALLEN` frames in a row, or when less than `PARSED` of the box is parsed as a person in `UNPARSED` frames in a
    row.

    The usual response is the running mean over frames with the whole box inside, so that a slow departure does not
    lower it. The absolute response is uninformative: on real and rendered clips it was 0.14 to 0.6 both on persons and
    on the ground that they had left, which KCF learns as its target within some frames. A fall at the edge is specific:
    with a `FALL` of 0.4 to 0.5, none of 84 clips ended early, and the four departures ended that KCF had followed. Of
    six more rendered walkers one ended in this way. The others KCF had lost, or the fall was too small; there only the
    parse ends the tracklet. `PARSED` and `UNPARSED` were not tuned: a person who is not parsed does not appear in the
    result anyway.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: x1, y1, x2, y2 of the person in it, in pixels.
        memory: what the network remembers of the person.
        scales: factors on the box's size that are tried in each frame.
    """

    def __init__(self, frame: Picture, box: Sequence[float], memory: Any, scales: Sequence[float] = (1.0,)) -> None:
        self.tracker, self.memory, self.shape = KCF(frame, box, scales), memory, frame.shape[:2]
        self._usual: float | None = None
        self._whole = self._fallen = self._unparsed = 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The person's x1, y1, x2, y2 in pixels."""
        return self.tracker.box

    @property
    def left(self) -> bool:
        """Whether the person has left."""
        return self._fallen >= FALLEN or self._unparsed >= UNPARSED

    def follow(self, frame: Picture) -> None:
        """Find the person in the next frame (H, W, 3) uint8 RGB."""
        response, whole = self.tracker.update(frame), self._inside() >= EDGE * _area(self.box)
        fallen = not whole and self._usual is not None and response <= FALL * self._usual
        self._fallen = self._fallen + 1 if fallen else 0
        if self._usual is None:
            self._usual = response
        elif whole:
            self._whole += 1
            self._usual += max(_USUAL, 1 / (self._whole + 1)) * (response - self._usual)

    def parsed(self, pixels: int) -> None:
        """Record how many pixels of this frame were parsed as the person."""
        self._unparsed = 0 if pixels >= max(PARSED * self._inside(), 1) else self._unparsed + 1

    def _inside(self) -> float:
        """Compute the area of the box within the frame, in pixels."""
        (x1, y1, x2, y2), (height, width) = self.box, self.shape
        return _area((max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)))


def _area(box: Sequence[float]) -> float:
    x1, y1, x2, y2 = box
    return max(x2 - x1, 0) * max(y2 - y1, 0)


class TrackletParser:
    """Parses the persons of a video, each detected once, then tracked by KCF until they leave (TCNet section 1).

    Detection stops at the first frame with persons: those who come later, or return, are not detected.

    Args:
        network: a network with `memory()`, such as `TCNet`.
        label_set: label set of its parts.
        image_size: side of its square input in pixels, or its (height, width), which every crop fills.
        device: device of the network.
        detector: returns the boxes x1, y1, x2, y2 of a frame's persons in pixels.
        scale_search: the boxes may grow and shrink.
        bfloat16: run convolutions in bfloat16.
    """

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        image_size: int | Sequence[int],
        device: torch.device,
        detector: Detector,
        scale_search: bool = False,
        bfloat16: bool = False,
    ) -> None:
        self.network, self.label_set, self.size = network.to(device).eval(), label_set, canvas_size(image_size)
        self.device, self.detector, self.bfloat16 = device, detector, bfloat16
        self.scales = SCALES if scale_search else (1.0,)

    @torch.inference_mode()
    def stream(self, frames: Iterable[Picture]) -> Iterator[Parsing]:
        """Parse a video.

        Args:
            frames: (H, W, 3) uint8 RGB each, of one size, in order.

        Yields:
            one parsing per frame at its size, on the CPU, in order.
        """
        people: list[Tracklet] = []
        found = False
        for frame in frames:
            if found:
                for person in people:
                    person.follow(frame)
                people = [person for person in people if not person.left]
            else:
                boxes = self.detector(frame)
                people = [Tracklet(frame, box, self.network.memory(), self.scales) for box in boxes]
                found = bool(people)
            yield self._parse(frame, people)

    def _parse(self, frame: Picture, people: Sequence[Tracklet]) -> Parsing:
        height, width = frame.shape[:2]
        parts = np.zeros((height, width), np.uint8)
        owner, best = np.zeros((height, width), np.int64), np.zeros((height, width), np.float32)
        for n, person in enumerate(people, 1):
            window = crop_window(person.box, self.size)
            probs = self._probabilities(cut(frame, window, self.size), person.memory)
            left, top, pasted = paste(probs, window, (height, width))
            place = np.s_[top : top + pasted.shape[1], left : left + pasted.shape[2]]
            label, share = pasted.argmax(0), 1 - pasted[0]
            person.parsed(int((label > 0).sum()))
            ours = (label > 0) & (share > best[place])
            parts[place][ours], owner[place][ours], best[place][ours] = label[ours], n, share[ours]
        count = len(people)
        persons = InstanceMap(
            map=torch.from_numpy(owner), classes=torch.ones(count, dtype=torch.int64), scores=torch.ones(count)
        )
        limit = (width, height, width, height)
        boxes = [[min(max(v, 0), m) for v, m in zip(person.box, limit, strict=True)] for person in people]
        return Parsing(
            parts=torch.from_numpy(parts).long(), persons=persons, boxes=torch.tensor(boxes).float().view(-1, 4)
        )

    def _probabilities(self, crop: Picture, memory: Any) -> Float32Array:
        image: Tensor = torch.from_numpy(crop).permute(2, 0, 1)[None].to(self.device).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, self.bfloat16):
            scores = memory.add(image)
        return np.asarray(scores[0].float().softmax(0).cpu())


def crop_window(box: Iterable[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Compute the window around a box, a tenth larger and of the aspect ratio of `size`.

    Args:
        box: x1, y1, x2, y2 in pixels.
        size: (height, width) that gives the aspect ratio.

    Returns:
        x1, y1, x2, y2 of the window in pixels; it may extend beyond the frame.
    """
    x1, y1, x2, y2 = box
    width, height = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    scale = max(width / size[1], height / size[0])
    half_width, half_height = scale * size[1] / 2, scale * size[0] / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def cut(frame: Picture, window: tuple[float, float, float, float], size: tuple[int, int]) -> Picture:
    """Cut a window out of a frame and resize it; beyond the frame its edge is repeated.

    Args:
        frame: (H, W, 3) uint8 RGB.
        window: x1, y1, x2, y2 in pixels.
        size: (height, width) of the crop.

    Returns:
        (*size, 3) uint8 RGB.
    """
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    x1, _, x2, _ = window
    shrink = int((x2 - x1) / size[1])
    if shrink > 1:  # bilinear alone would skip pixels
        frame = cv2.blur(frame, (shrink, shrink)).astype(np.uint8)
    crop = cv2.warpAffine(frame, _matrix(window, size), size[::-1], flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def paste(
    probs: Float32Array, window: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[int, int, Float32Array]:
    """Resize the probabilities of a window to the pixels of its frame.

    Args:
        probs: (C, h, w) probabilities of the window.
        window: x1, y1, x2, y2 in pixels of the frame.
        shape: (height, width) of the frame.

    Returns:
        left and top of the part of the window that lies in the frame, and its probabilities (C, h', w'). All are empty
        or 0 if no part does.
    """
    left, top = max(0, int(np.floor(window[0]))), max(0, int(np.floor(window[1])))
    right, bottom = min(shape[1], int(np.ceil(window[2]))), min(shape[0], int(np.ceil(window[3])))
    size = (max(right - left, 0), max(bottom - top, 0))
    if 0 in size:
        return 0, 0, np.zeros((len(probs), 0, 0), np.float32)
    inverse = np.asarray(cv2.invertAffineTransform(_matrix(window, (probs.shape[1], probs.shape[2]))), np.float64)
    inverse[:, 2] += inverse[:, :2] @ (left, top)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    layers = [cv2.warpAffine(layer, inverse, size, flags=how, borderMode=cv2.BORDER_CONSTANT) for layer in probs]
    return left, top, np.stack(layers).astype(np.float32)


def _matrix(window: tuple[float, float, float, float], size: tuple[int, int]) -> Float64Array:
    """Compute the affine map from a crop of (height, width) `size` to the frame; pixel centres are integers in both."""
    x1, y1, x2, y2 = window
    across, down = (x2 - x1) / size[1], (y2 - y1) / size[0]
    return np.array([[across, 0, x1 + (across - 1) / 2], [0, down, y1 + (down - 1) / 2]])
