"""Fine-grained Human-centric Tracklet Segmentation with Single Frame Supervision (Liu et al., TPAMI).

| paper                  | here            | shape, H x W the input's                                   |
|------------------------|-----------------|------------------------------------------------------------|
| I_t, I_{t-l}, I_{t-s}  | image           | (B, 3, H, W) in [0, 1]                                     |
| feature extraction     | trunk           | conv3_3 (B, 256, H/4, W/4), conv5_3 (B, 512, H/8, W/8)     |
| P_t                    | Seen.scores     | (B, K, H, W) logits of the frame parser                    |
| f_t                    | Seen.presence   | (B, K) logits of the frame classifier                      |
| O_{t,t-l}              | Carried.flow    | (B, 2, H, W) pixels, pixel p of t lies at p + O[p] in t-l  |
| w(a, b)                | warp            | bilinear sampling                                          |
| D, C_{t,t-l}           | confidence      | (B, 1, H, W), C in (0, 1]                                  |
| P_{(t-l)->t}           | Carried.scores  | (B, K, H, W)                                               |
| P-hat_t                | pixel_fusion    | (B, K, H, W)                                               |
| f-hat_t, F-hat_t       | presence        | (B, K), the same at every pixel                            |
| P-tilde_t              | Fused.scores    | (B, K, H, W)                                               |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ClipBatch
from partwise.models.tcnet.fusion import FrameFusion, PixelFusion, Start
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.nn.dense import DenseParser
from partwise.nn.flownet import CorrelationFlow, full_flow
from partwise.nn.layers import enlarge, near_zero
from partwise.nn.losses import parsing_loss
from partwise.ops.flow import warp

Confidence = Literal["unit", "bytes", "squared"]
# In the units of D. 3 is one grey level in each of the three channels that D sums, about the error of rounding to
# bytes: such a difference says nothing about the flow.
SIGMA_FLOOR: dict[Confidence, float] = {"bytes": 3.0, "unit": 1e-3, "squared": 1e-3}


class Seen(NamedTuple):
    """What is computed once per frame and kept in the memory buffer.

    Attributes:
        image: (B, 3, H, W) in [0, 1].
        conv3: conv3_3 (B, C3, H/4, W/4).
        conv5: conv5_3 (B, C5, H/8, W/8).
        scores: P (B, K, H, W) logits.
        presence: f (B, K) logits.
    """

    image: Tensor
    conv3: Tensor
    conv5: Tensor
    scores: Tensor
    presence: Tensor


class Carried(NamedTuple):
    """An earlier frame, aligned with the current one.

    Attributes:
        flow: (B, 2, H, W) from the current frame to the earlier one, pixels.
        image: (B, 3, H, W), warped.
        confidence: C (B, 1, H, W) in (0, 1].
        scores: (B, K, H, W) logits, warped.
    """

    flow: Tensor
    image: Tensor
    confidence: Tensor
    scores: Tensor


class Fused(NamedTuple):
    """The current frame fused with its context.

    Attributes:
        scores: P-tilde (B, K, H, W).
        presence: f-hat (B, K).
        pixel_level: P-hat (B, K, H, W).
        carried: the earlier frames, in the order of the offsets.
    """

    scores: Tensor
    presence: Tensor
    pixel_level: Tensor
    carried: list[Carried]


class TCNet(DenseParser[ClipBatch]):
    """A parser of each frame of a tracklet from the frame itself and earlier ones.

    Args:
        frame: the frame parser, for K classes.
        flow: estimates flow from the frame parser's conv5_3 and conv3_3.
        offsets: l and s, frames from each earlier frame to the current one; a single one is an ablation.
        confidence: units of D, images in 0..255 ("bytes") or in [0, 1] ("unit"); or "squared", D^2 / (2 sigma^2), which
            does not depend on them. None takes C = 1.
        frame_level: add the frame-level context.
        fusion_layers: number of 1x1 convolutions of the pixel-level fusion; Fig. 7 shows one.
        fusion_start: initial weights of both levels: "normal", N(0, 1) as in the paper, or "mean", the mean over the
            frames.
        class_weights: the frame-level fusion has one weight per class of a frame, instead of one per frame.
        frame_loss: weight of the frame parser's own cross-entropy, 0 in the paper. Without it the frame parser learns
            through the fusion alone, although nothing else parses the first l frames.
        class_loss: weight of Eq. 7 as a mean over classes, relative to Eq. 6 as a mean over pixels; None is that of the
            paper's sums, K / (H W). Large values count the pixels' evidence twice.
    """

    def __init__(
        self,
        frame: DeepLabV2,
        flow: CorrelationFlow,
        offsets: Sequence[int] = (3, 1),
        confidence: Confidence | None = "bytes",
        frame_level: bool = True,
        fusion_layers: int = 1,
        fusion_start: Start = "normal",
        class_weights: bool = False,
        frame_loss: float = 0.0,
        class_loss: float | None = None,
    ) -> None:
        super().__init__()
        self.offsets, self.confidence = tuple(offsets), confidence
        self.frame_level, self.frame_loss, self.class_loss = frame_level, frame_loss, class_loss
        self.trunk, self.parsing = frame.trunk, frame.parsing
        self.flow = flow
        K, frames, width = frame.num_classes, len(self.offsets) + 1, self.trunk.conv5_channels
        self.pixel_fusion = PixelFusion(K, frames, fusion_layers, fusion_start)
        pooled = nn.BatchNorm1d(width, affine=False) if frame.norm else nn.Identity()
        self.classification = nn.Sequential(pooled, near_zero(nn.Linear(width, K))).requires_grad_(frame_level)
        self.frame_fusion = FrameFusion(K if class_weights else 1, frames, fusion_start)
        self.frame_fusion.requires_grad_(frame_level)

    def see(self, image: Tensor) -> Seen:
        """Parse and classify frames by themselves.

        Args:
            image: (B, 3, H, W) in [0, 1].

        Returns:
            features, scores and presences.
        """
        conv3, conv5 = self.trunk(image)
        scores = enlarge(self.parsing(conv5), image)
        return Seen(image, conv3, conv5, scores, self.classification(conv5.mean((2, 3))))

    def estimate(self, now: Seen, earlier: Sequence[Seen]) -> list[Tensor]:
        """Estimate the flow O from the current frame to earlier ones.

        Args:
            now: the current frame.
            earlier: the earlier frames.

        Returns:
            (B, 2, H, W) per earlier frame, pixels.
        """
        count = len(earlier)  # as one batch, so that the branch's many weights are read once
        then = torch.cat([frame.conv5 for frame in earlier])
        finest = self.flow(now.conv5.repeat(count, 1, 1, 1), then, now.conv3.repeat(count, 1, 1, 1))[0]
        size = (now.image.shape[-2], now.image.shape[-1])
        return list(full_flow(finest, size, align_corners=True).chunk(count))

    def carry(self, now: Seen, earlier: Seen, flow: Tensor) -> Carried:
        """Align an earlier frame's image and scores with the current frame and compute the confidence (Eqs. 2 to 5).

        Args:
            now: the current frame.
            earlier: the earlier frame.
            flow: (B, 2, H, W) from the current frame to the earlier one, pixels.

        Returns:
            the aligned frame.
        """
        image = warp(earlier.image, flow, "border")  # Eq. 2
        C = torch.ones_like(flow[:, :1]) if self.confidence is None else confidence(now.image, image, self.confidence)
        return Carried(flow, image, C, warp(earlier.scores, flow))  # Eq. 5

    def fuse(self, earlier: Sequence[Seen], now: Seen) -> Fused:
        """Fuse the current frame with its context on both levels.

        Args:
            earlier: the earlier frames, in the order of `offsets`.
            now: the current frame.

        Returns:
            fused scores and presences.
        """
        flows = self.estimate(now, earlier)
        carried = [self.carry(now, frame, flow) for frame, flow in zip(earlier, flows, strict=True)]
        P_hat = self.pixel_fusion([*(c.scores * c.confidence for c in carried), now.scores])
        if not self.frame_level:
            return Fused(P_hat, now.presence, P_hat, carried)
        f_hat = self.frame_fusion([frame.presence for frame in (*earlier, now)])
        return Fused(P_hat + f_hat[:, :, None, None], f_hat, P_hat, carried)

    def forward(self, frames: Tensor) -> tuple[Seen, Fused]:
        """Parse the last frame of each clip, by itself and fused with the others.

        Args:
            frames: (B, T, 3, H, W) in [0, 1]; the earlier frames lie `offsets` before the last.

        Returns:
            the last frame by itself, and fused.
        """
        count = frames.shape[1]
        seen = self.see(frames.flatten(0, 1))
        single = zip(*(x.unflatten(0, (-1, count)).unbind(1) for x in seen), strict=True)
        *earlier, now = (Seen(*frame) for frame in single)
        return now, self.fuse(earlier, now)

    def losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Compute the losses of the last frames (Eqs. 6 to 8), divided by the number of pixels.

        Args:
            batch: clips; earlier frames that a tracklet lacks are replaced by its first. Label 255 is ignored.

        Returns:
            losses () by name.
        """
        parts = batch["parts"]
        now, fused = self(batch["frames"])
        losses = {"parsing": parsing_loss(fused.scores, parts)}  # Eq. 6
        if self.frame_loss:
            losses["frame"] = self.frame_loss * parsing_loss(now.scores, parts)
        if self.frame_level:
            f_hat = fused.presence
            g = torch.stack([(parts == c).flatten(1).any(1) for c in range(f_hat.shape[1])], 1)
            weight = g.shape[1] / parts[0].numel() if self.class_loss is None else self.class_loss
            losses["classes"] = weight * F.binary_cross_entropy_with_logits(f_hat.float(), g.float())  # Eq. 7
        return losses

    def scores(self, batch: ClipBatch) -> Tensor:
        """Compute logits (B, K, H, W) of the last frame of each clip, by itself if earlier frames are missing."""
        now, fused = self(batch["frames"])
        offsets = batch["offsets"]
        whole = offsets[:, :-1] == -torch.tensor(self.offsets, device=offsets.device)
        return torch.where(whole.all(1).view(-1, 1, 1, 1), fused.scores, now.scores)

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the logits of every frame of a tracklet (section 3.4, inference).

        The first l frames are parsed by the frame parser alone.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (1, K, H, W) per frame, in order.
        """
        return map(self.memory().add, frames)

    def memory(self) -> Memory:
        """Create an empty memory buffer for one tracklet."""
        return Memory(self)


class Memory:
    """The memory buffer of the last l frames of a tracklet (section 3.4, inference).

    Args:
        network: network that sees and fuses the frames.
    """

    def __init__(self, network: TCNet) -> None:
        self.network = network
        self.frames: deque[Seen] = deque(maxlen=max(network.offsets) + 1)

    def add(self, image: Tensor) -> Tensor:
        """Compute the logits of the next frame and remember the frame.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].

        Returns:
            (1, K, H, W), the frame parser's while earlier frames are missing.
        """
        self.frames.append(self.network.see(image))
        now = self.frames[-1]
        if len(self.frames) < max(self.network.offsets) + 1:
            return now.scores
        return self.network.fuse([self.frames[-1 - offset] for offset in self.network.offsets], now).scores


def confidence(image: Tensor, warped: Tensor, scale: Confidence = "bytes") -> Tensor:
    """Compute the confidence C = exp(-D / (2 sigma^2)) of a warped image, without gradient (Eqs. 3, 4).

    Sigma is the standard deviation of D over the image, at least `SIGMA_FLOOR`. Without a floor, C would fall as noise
    falls: D is proportional to it, sigma^2 to its square.

    Args:
        image: (B, 3, H, W) in [0, 1].
        warped: (B, 3, H, W), an earlier frame's, aligned with `image`.
        scale: units of D, images in 0..255 ("bytes") or in [0, 1] ("unit"); or "squared", D^2 / (2 sigma^2), which does
            not depend on them.

    Returns:
        (B, 1, H, W) in (0, 1].
    """
    D = (image - warped).detach().float().abs().sum(1, keepdim=True)
    if scale == "bytes":
        D = 255 * D
    variance = D.flatten(1).var(1, unbiased=False).clamp(min=SIGMA_FLOOR[scale] ** 2).view(-1, 1, 1, 1)
    return torch.exp(-(D.square() if scale == "squared" else D) / (2 * variance))
