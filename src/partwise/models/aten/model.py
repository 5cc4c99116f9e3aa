"""Adaptive Temporal Encoding Network for Video Instance-level Human Parsing (Zhou et al., ACM MM 2018).

| paper            | here            | shape, H x W the input's                                            |
|------------------|-----------------|---------------------------------------------------------------------|
| I                | image           | (B, 3, H, W) in [0, 1]                                              |
| N_feat, F_k      | feature         | (B, C, H/4, W/4) of a key frame                                     |
| F (FlowNet)      | flow            | module; M (B, 2, H/4, W/4) in feature pixels, S (B, C, H/4, W/4)    |
| M_{i->j}         | M               | from pixel p of frame i to p + M[p] of frame j                      |
| W                | warp            | bilinear sampling, zeros outside                                    |
| eps, convGRU     | encoder         | (p + 1) x (B, C, H/4, W/4) -> (B, C, H/4, W/4)                      |
| F-bar_k          | encoded         | (B, C, H/4, W/4)                                                    |
| N_parse          | heads           | feature -> parts, persons, part instances                           |
| l                | key_interval    | frames from one key frame to the next                               |
| p                | encoding_range  | number of other key frames encoded with the current one             |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ClipBatch
from partwise.models.aten.inference import stream_features
from partwise.nn.conv_gru import Mean
from partwise.nn.deeplab import STRIDE
from partwise.nn.flownet import FLOW_UNIT, FlowNetS
from partwise.nn.parsing_rcnn import HeadedParser, ParsingRCNN
from partwise.ops.flow import resize_flow, warp


class ScaledFlow(nn.Module):
    """FlowNet-S that also predicts a scale map (section 4.2).

    Args:
        channels: C of the features to scale.
        unit: feature pixels per unit of FlowNet-S's output. It outputs flow in units of 20 input pixels, hence 20 / 4;
            the release takes 20, as if the feature had the input's size.
        width: multiplier of FlowNet-S's channels.
        size: factor on the images' height and width before FlowNet-S; DFF takes 0.5.
    """

    def __init__(self, channels: int, unit: float = FLOW_UNIT / STRIDE, width: float = 1.0, size: float = 1.0) -> None:
        super().__init__()
        self.net, self.unit, self.size = FlowNetS(width), unit, size
        self.scale = nn.Conv2d(self.net.top_channels, channels, 1)
        nn.init.zeros_(self.scale.weight)
        assert self.scale.bias is not None
        nn.init.ones_(self.scale.bias)
        self.scale.bias.requires_grad_(False)

    def forward(self, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Predict flow and scale map between two images.

        Args:
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            M (B, 2, H/4, W/4), the flow from target to source in feature pixels, and S (B, C, H/4, W/4).
        """
        grid = (target.shape[-2] // STRIDE, target.shape[-1] // STRIDE)
        if self.size != 1:
            target, source = (F.interpolate(i, scale_factor=self.size, mode="area") for i in (target, source))
        flows, top = self.net(target, source)
        M, S = self.unit * flows[0], self.scale(top)
        if self.size != 1:
            M, S = resize_flow(M, grid), F.interpolate(S, grid, mode="bilinear", align_corners=False)
        return M, S


class Coarse(nn.Module):
    """An encoder on pooled features: the current feature plus the upsampled residual encoder(pooled) - pooled current.

    Args:
        encoder: encodes a list of features (B, C, h, w) as one.
        stride: side of the pooled squares, in feature pixels.
    """

    def __init__(self, encoder: nn.Module, stride: int) -> None:
        super().__init__()
        self.encoder, self.stride = encoder, stride

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Encode features (B, C, h, w), the current one last, as one (B, C, h, w)."""
        current = features[-1]
        pooled = [F.avg_pool2d(feature, self.stride) for feature in features]
        change = self.encoder(pooled) - pooled[-1]
        return current + F.interpolate(change, current.shape[-2:], mode="bilinear", align_corners=False)


class ATEN(HeadedParser[ClipBatch]):
    """A parser of videos: features of key frames, encoded over time and propagated to the frames between them.

    Args:
        frame: the frame-level model, N_feat and N_parse, for images whose sides are multiples of 64 pixels.
        flow: F, for the C channels of the feature.
        encoder: eps, encodes a list of features as one: `ConvGRU`, the ablations `ConvLSTM` or `Mean`, or `Coarse`,
            which runs one of them on pooled features.
        key_interval: l, frames from one key frame to the next.
        encoding_range: p, number of other key frames encoded with the current one. With 0 the encoder is left out.
        align: warp the other key frames' features to the current one before encoding.
        centred: key frames are the middle ones of their segments, as in the paper; otherwise the first, so that no
            frame waits for later ones.
    """

    def __init__(
        self,
        frame: ParsingRCNN,
        flow: ScaledFlow,
        encoder: nn.Module,
        key_interval: int = 3,
        encoding_range: int = 2,
        align: bool = True,
        centred: bool = True,
    ) -> None:
        super().__init__()
        self.key_interval, self.encoding_range = key_interval, encoding_range
        self.align, self.centred = align, centred
        self.feature = frame.feature
        self.flow = flow
        self.encoder = encoder if encoding_range else Mean()  # a single key frame needs no encoding
        self.heads = frame.heads

    def frame_model(self) -> ParsingRCNN:
        """Return the frame-level model of the same feature and heads."""
        return ParsingRCNN(self.feature, self.heads)

    def encode(self, features: Sequence[Tensor], images: Sequence[Tensor]) -> Tensor:
        """Compute F-bar_k of the current key frame (Eqs. 1, 3, 4).

        Args:
            features: F of p + 1 key frames (B, C, H/4, W/4), farthest first and the current one last.
            images: I of the same frames (B, 3, H, W) in [0, 1].

        Returns:
            (B, C, H/4, W/4).
        """
        *others, current = features
        if self.align and others:
            others = [self.propagate(f, images[-1], i) for f, i in zip(others, images, strict=False)]  # Eq. 3
        encoded: Tensor = self.encoder([*others, current])  # Eq. 4
        return encoded

    def propagate(self, feature: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """Propagate a feature from one image to another (Eqs. 2, 6).

        Args:
            feature: (B, C, H/4, W/4) feature of the source image.
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            (B, C, H/4, W/4), aligned with the target image.
        """
        M, S = self.flow(target, source)
        return warp(feature, M) * S

    def forward(self, frames: Tensor, offsets: Tensor) -> Tensor:
        """Compute the feature of the last frame of each clip, the target.

        Args:
            frames: (B, p + 2, 3, H, W) in [0, 1]: key frames, farthest first and the current one last, then the target.
            offsets: (B, p + 2) frames from the target to each.

        Returns:
            (B, C, H/4, W/4). If the target is the current key frame, this is its encoding. The flow is computed then
            too, so that every parameter takes part in every step, as DDP requires.
        """
        *keys, target = frames.unbind(1)
        features = self.feature(torch.cat(keys)).chunk(len(keys))  # N_feat, never on the target
        encoded = self.encode(features, keys)
        propagated = self.propagate(encoded, target, keys[-1])
        is_key = (offsets[:, -2] == 0).view(-1, 1, 1, 1)
        return torch.where(is_key, encoded + 0 * propagated, propagated)

    def sample_features(self, batch: ClipBatch) -> Tensor:
        """Compute the features (B, C, H/4, W/4) of the labelled frames of a batch."""
        features: Tensor = self(batch["frames"], batch["offsets"])
        return features

    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the feature of every frame of a video (Algorithm 1).

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (1, C, H/4, W/4) per frame, in order.
        """
        return stream_features(self, frames)
