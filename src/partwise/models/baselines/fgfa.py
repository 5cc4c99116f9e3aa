"""Flow-Guided Feature Aggregation (Zhu et al., ICCV 2017) on ATEN's feature and heads, as in ATEN's comparison."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ClipBatch
from partwise.nn.deeplab import STRIDE
from partwise.nn.flownet import FLOW_UNIT, FlowNetS
from partwise.nn.parsing_rcnn import HeadedParser, ParsingRCNN
from partwise.ops.flow import warp


class FGFA(HeadedParser[ClipBatch]):
    """Averages the features of neighbouring frames, warped to a frame, weighted by similarity to its own feature.

    Args:
        frame: the frame-level model that provides feature and heads, for images whose sides are multiples of 64 pixels.
        flow: estimates the flow between images.
        reach: K, neighbours on either side in evaluation; ATEN compares with the nearest 10, five per side.
        embedding: channels of the embedding's three layers.
    """

    def __init__(
        self,
        frame: ParsingRCNN,
        flow: FlowNetS,
        reach: int = 5,
        embedding: Sequence[int] = (512, 512, 2048),
    ) -> None:
        super().__init__()
        self.reach = reach
        self.feature = frame.feature
        self.flow = flow
        first, second, third = embedding
        self.embedding = nn.Sequential(
            _msra(nn.Conv2d(frame.feature.width, first, 1)), nn.ReLU(inplace=True),
            _msra(nn.Conv2d(first, second, 3, padding=1)), nn.ReLU(inplace=True),
            _msra(nn.Conv2d(second, third, 1)),
        )  # fmt: skip
        self.heads = frame.heads

    def frame_model(self) -> ParsingRCNN:
        """Return the frame-level model of the same feature and heads."""
        return ParsingRCNN(self.feature, self.heads)

    def aggregate(self, features: Sequence[Tensor], images: Sequence[Tensor], own: Tensor, target: Tensor) -> Tensor:
        """Compute F-bar_i = sum_j w_{j->i} f_{j->i}.

        The weights w are the softmax over j of cos(E(f_{j->i}), E(f_i)) at every pixel.

        Args:
            features: f_j, (B, C, H/4, W/4) each.
            images: I_j, (B, 3, H, W) in [0, 1] each.
            own: f_i, (B, C, H/4, W/4).
            target: I_i, (B, 3, H, W) in [0, 1].

        Returns:
            (B, C, H/4, W/4).
        """
        warped = [self._warp(f, target, i) for f, i in zip(features, images, strict=True)]
        mine = self.embedding(own)
        alike = torch.stack([F.cosine_similarity(self.embedding(f), mine, dim=1) for f in warped])  # (J, B, h, w)
        weights = alike.softmax(0).unsqueeze(2)
        return (torch.stack(warped) * weights).sum(0)

    def forward(self, frames: Tensor, offsets: Tensor) -> Tensor:
        """Compute the aggregated feature of the last frame of each clip, the target.

        Args:
            frames: (B, J + 1, 3, H, W) in [0, 1]: the frames to aggregate, then the target, which is aggregated only if
                it is among them.
            offsets: (B, J + 1) frames from the target to each; in evaluation, equal ones of a clip are the same frame.

        Returns:
            (B, C, H/4, W/4).
        """
        *images, target = frames.unbind(1)
        *features, own = self._features(frames, offsets).unbind(1)
        return self.aggregate(features, images, own, target)

    def sample_features(self, batch: ClipBatch) -> Tensor:
        """Compute the features (B, C, H/4, W/4) of the labelled frames of a batch."""
        features: Tensor = self(batch["frames"], batch["offsets"])
        return features

    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the feature of every frame of a video, each frame's own computed once.

        Reads K frames ahead. At both ends of the video the end frame is repeated.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (1, C, H/4, W/4) per frame, in order.
        """
        window: deque[tuple[Tensor, Tensor]] = deque(maxlen=2 * self.reach + 1)  # image and own feature
        for count, image in enumerate(frames):
            newest = image, self.feature(image)
            window.extend([newest] * (self.reach + 1 if count == 0 else 1))
            if len(window) == 2 * self.reach + 1:
                yield self._middle(window)
        # A video of T <= K frames has filled T + K places; it is yielded while its last frame is repeated.
        for _ in range(self.reach if window else 0):
            window.append(newest)
            if len(window) == 2 * self.reach + 1:
                yield self._middle(window)

    def _features(self, frames: Tensor, offsets: Tensor) -> Tensor:
        """Compute features (B, J + 1, C, H/4, W/4); in evaluation, equal frames of a clip once."""
        if self.training:  # two frames and the target are rarely equal, and comparing waits for the device
            return self.feature(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        places: dict[tuple[int, int], int] = {}
        rows = [[(b, offset) for offset in row] for b, row in enumerate(offsets.tolist())]
        where = torch.tensor([[places.setdefault(frame, len(places)) for frame in row] for row in rows])
        distinct = torch.stack([frames[b, rows[b].index((b, offset))] for b, offset in places])
        return self.feature(distinct)[where.to(frames.device)]

    def _middle(self, window: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        images, features = [image for image, _ in window], [feature for _, feature in window]
        return self.aggregate(features, images, features[self.reach], images[self.reach])

    def _warp(self, feature: Tensor, target: Tensor, source: Tensor) -> Tensor:
        flow = self.flow(target, source)[0][0] * (FLOW_UNIT / STRIDE)
        return warp(feature, flow)


def _msra(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
