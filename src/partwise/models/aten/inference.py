"""ATEN's Algorithm 1 as a stream: a feature for every frame, each key frame's computed once, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from partwise.ops.key_frames import key_place, memory


class KeyFrameNetwork(Protocol):
    """What Algorithm 1 takes of ATEN, see `partwise.models.aten.model.ATEN`."""

    key_interval: int
    encoding_range: int
    centred: bool

    @property
    def feature(self) -> nn.Module:
        """N_feat: images (1, 3, H, W) to features (1, C, H/4, W/4)."""
        ...

    def encode(self, features: Sequence[Tensor], images: Sequence[Tensor]) -> Tensor:
        """Encode the features of key frames (1, C, H/4, W/4), the current one last."""
        ...

    def propagate(self, feature: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """Carry a feature (1, C, H/4, W/4) of the source image to the target image."""
        ...


class KeyFrame(NamedTuple):
    """A key frame that later key frames may still be encoded with.

    Attributes:
        image: (1, 3, H, W) in [0, 1].
        feature: (1, C, H/4, W/4), not encoded.
    """

    image: Tensor
    feature: Tensor


def stream_features(network: KeyFrameNetwork, images: Iterable[Tensor]) -> Iterator[Tensor]:
    """Compute the feature of every frame of a video.

    Reads ahead to the end of the segment; at the start of the video, where key frames are encoded with later ones, p
    segments more. Keeps p + 1 key frames and the images read ahead.

    Args:
        network: in evaluation mode.
        images: (1, 3, H, W) each, in [0, 1], in order.

    Yields:
        (1, C, H/4, W/4) per image, in order.
    """
    past = network.encoding_range
    source = iter(images)
    waiting: deque[list[Tensor]] = deque()  # segments read but not yet yielded
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


def _segment_features(network: KeyFrameNetwork, images: list[Tensor], keys: list[KeyFrame]) -> Iterator[Tensor]:
    """Compute the features of a segment's images; `keys` are what its key frame, the last of them, is encoded with."""
    encoded = network.encode([key.feature for key in keys], [key.image for key in keys])
    place = key_place(len(images), network.centred)
    for j, image in enumerate(images):
        yield encoded if j == place else network.propagate(encoded, image, keys[-1].image)
