"""ATEN's Algorithm 1 as a stream: a feature for every frame, each key frame's computed once, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from partwise.ops.key_frames import key_place, memory

if TYPE_CHECKING:
    from partwise.models.aten.model import ATEN


class KeyFrame(NamedTuple):
    """A key frame that others may still be encoded with."""

    image: Tensor  # (1, 3, H, W)
    feature: Tensor  # (1, C, H/4, W/4), not encoded


def stream_features(network: ATEN, images: Iterable[Tensor]) -> Iterator[Tensor]:
    """The feature (1, C, H/4, W/4) of every image (1, 3, H, W) of a video, in order.

    Reads ahead to the end of the segment; at the start of the video, where key frames are encoded with later ones, p
    segments more. Holds p + 1 key frames, and images as far as it has read ahead.
    """
    past = network.encoding_range
    source = iter(images)
    waiting: deque[list[Tensor]] = deque()  # segments that were read and not yet handed out
    keys: dict[int, KeyFrame] = {}
    read, n = 0, 0
    while True:
        ahead = past if network.centred and n < past else 0
        while read <= n + ahead and (segment := list(islice(source, network.key_interval))):
            image = segment[key_place(len(segment), network.centred)]
            keys[read] = KeyFrame(image, network.feature(image))
            waiting.append(segment)
            read += 1
        if not waiting:
            return
        chosen = [keys[key] for key in memory(range(read), n, past, network.centred)]
        yield from _segment_features(network, waiting.popleft(), chosen)
        n += 1
        keys = {key: frame for key, frame in keys.items() if key >= n - past}


def _segment_features(network: ATEN, images: list[Tensor], keys: list[KeyFrame]) -> Iterator[Tensor]:
    """Features of a segment's images; `keys` are those that its own, the last, is encoded with."""
    encoded = network.encode([key.feature for key in keys], [key.image for key in keys])
    place = key_place(len(images), network.centred)
    for j, image in enumerate(images):
        yield encoded if j == place else network.propagate(encoded, image, keys[-1].image)
