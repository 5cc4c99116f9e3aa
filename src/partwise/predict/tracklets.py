"""From video to tracklets and back: find persons, follow them, parse their crops, paste the parses into the frame."""

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

SCALES = (1 / 1.05, 1.0, 1.05)  # of the scale search
#: When a tracklet ends, see `Tracklet`: the share of a box that is inside if it is whole; how far a response falls when
#: the person leaves; for how many frames.
EDGE, FALL, FALLEN = 0.95, 0.5, 3
#: And without a response: the least share of a box that is parsed as a person, and for how many frames it may be less.
PARSED, UNPARSED = 0.02, 10
_USUAL = 0.05  # rate of the running mean of responses
MARGIN = 1.1  # of a crop around its box


class Tracklet:
    """A person who is followed until they have left.

    They have left when their box reaches over the frame's edge and the response is at most `FALL` of the usual one, in
    `FALLEN` frames on end, or when less than `PARSED` of the box is parsed as a person in `UNPARSED` frames on end.

    The usual response is the running mean over the frames in which the whole box was inside, so that a slow departure
    does not become usual. The response as such tells nothing: on real and rendered clips it was 0.14 to 0.6 on persons
    and on the ground they had left alike, which KCF learns as its target within some frames. A fall of it at
    the edge is rarer: with a `FALL` of 0.4 to 0.5 none of 84 clips ended early, and the four departures ended to which
    KCF had held on. Of six more rendered walkers one ended so; the others KCF had lost, or the fall was too small, and
    there only the parse tells. `PARSED` and `UNPARSED` are not measured: whoever is not parsed shows nothing anyway.

    Args:
        frame: (H, W, 3) uint8.
        box: x1, y1, x2, y2 of the person in it, in pixels.
        memory: what the network remembers of the person.
        scales: see `KCF`.
    """

    def __init__(self, frame: Picture, box: Sequence[float], memory: Any, scales: Sequence[float] = (1.0,)) -> None:
        self.tracker, self.memory, self.shape = KCF(frame, box, scales), memory, frame.shape[:2]
        self._usual: float | None = None
        self._whole = self._fallen = self._unparsed = 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels."""
        return self.tracker.box

    @property
    def left(self) -> bool:
        """Whether the person has left."""
        return self._fallen >= FALLEN or self._unparsed >= UNPARSED

    def follow(self, frame: Picture) -> None:
        """Find the person in the next frame."""
        response, whole = self.tracker.update(frame), self._inside() >= EDGE * _area(self.box)
        fallen = not whole and self._usual is not None and response <= FALL * self._usual
        self._fallen = self._fallen + 1 if fallen else 0
        if self._usual is None:
            self._usual = response
        elif whole:
            self._whole += 1
            self._usual += max(_USUAL, 1 / (self._whole + 1)) * (response - self._usual)

    def parsed(self, pixels: int) -> None:
        """Take note of how many pixels of this frame were parsed as the person."""
        self._unparsed = 0 if pixels >= max(PARSED * self._inside(), 1) else self._unparsed + 1

    def _inside(self) -> float:
        """Pixels of the box that lie in the frame."""
        (x1, y1, x2, y2), (height, width) = self.box, self.shape
        return _area((max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)))


def _area(box: Sequence[float]) -> float:
    x1, y1, x2, y2 = box
    return max(x2 - x1, 0) * max(y2 - y1, 0)


class TrackletParser:
    """Parses the persons of a video, each found once, then followed by KCF (TCNet section 1) until they leave.

    Who comes later, or again, is not looked for.

    Args:
        network: with `memory()`, see `TCNet`.
        label_set: of its parts.
        image_size: (height, width) of its input, which every crop fills.
        device: where to run.
        detector: boxes x1, y1, x2, y2 of the persons of a frame; asked until there are some.
        scale_search: let the boxes grow and shrink.
        bfloat16: convolve in half precision.
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
        """One Parsing, on the CPU, for each (H, W, 3) uint8 RGB frame, in order."""
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
    """The window x1, y1, x2, y2 around a box, a little larger and of the aspect (height, width) of `size`."""
    x1, y1, x2, y2 = box
    width, height = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    scale = max(width / size[1], height / size[0])
    half_width, half_height = scale * size[1] / 2, scale * size[0] / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def cut(frame: Picture, window: tuple[float, float, float, float], size: tuple[int, int]) -> Picture:
    """The window of a frame at (height, width) `size`; beyond the frame its edge is repeated."""
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
    """Probabilities (C, h, w) of a window, back in the pixels of a frame of (height, width) `shape`.

    Returns:
        left and top of what of the window lies in the frame, and its probabilities (C, ., .).
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
    """From pixels of a crop of (height, width) `size` to those of the frame; centres are integers in both."""
    x1, y1, x2, y2 = window
    across, down = (x2 - x1) / size[1], (y2 - y1) / size[0]
    return np.array([[across, 0, x1 + (across - 1) / 2], [0, down, y1 + (down - 1) / 2]])
