"""NetWarp (Gadde et al., ICCV 2017) at conv5_3 of DeepLab-v2: adds the warped feature of the previous frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ClipBatch
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.nn.dense import DenseParser
from partwise.nn.flownet import FINEST, FLOW_UNIT, FlowNetS
from partwise.nn.layers import enlarge
from partwise.nn.losses import parsing_loss
from partwise.nn.vgg import STRIDE
from partwise.ops.dis import dense_inverse_search
from partwise.ops.flow import centred_mean, resize_flow, warp


class DIS(nn.Module):
    """OpenCV's dense inverse search (Kroeger et al., ECCV 2016), medium preset; not differentiable."""

    @torch.no_grad()
    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Estimate the flow between images.

        Args:
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 2, H, W) flow from target to source, pixels.
        """
        pairs = zip(target, source, strict=True)
        return torch.stack([dense_inverse_search(_grey(t), _grey(s)) for t, s in pairs]).to(target.device)


class PlainFlow(nn.Module):
    """FlowNet-S's finest flow, resized to the images' size; not trained with the parser.

    Args:
        width: multiplier of FlowNet-S's channels.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.net = FlowNetS(width).requires_grad_(False)  # has no layer that train() or eval() changes

    @torch.no_grad()
    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Estimate the flow between images.

        Args:
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 2, H, W) flow from target to source, pixels.
        """
        height, width = target.shape[-2:]
        sides = (-(-height // FINEST) * FINEST, -(-width // FINEST) * FINEST)
        pair = [F.interpolate(image, sides, mode="bilinear", align_corners=False) for image in (target, source)]
        flow = FLOW_UNIT / FINEST * self.net(*pair)[0][0].float()  # pixels of its own grid
        return resize_flow(flow, (height, width))


class NetWarp(DenseParser[ClipBatch]):
    """z~_t = w1 z_t + w2 W(z_{t-1}, Lambda(F)), with z before the ReLU of conv5_3.

    Args:
        frame: the frame parser, whose conv5_3 is warped and combined.
        flow: `DIS` or `PlainFlow`; neither is trained here.
    """

    def __init__(self, frame: DeepLabV2, flow: DIS | PlainFlow) -> None:
        super().__init__()
        self.trunk, self.parsing = frame.trunk, frame.parsing
        channels = self.trunk.conv5_channels
        self.flow = flow
        self.transform = FlowTransform()
        self.now, self.then = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def see(self, image: Tensor) -> Tensor:
        """Compute z (B, C, H/8, W/8), conv5_3 before its ReLU, of images (B, 3, H, W) in [0, 1]."""
        z: Tensor = self.trunk(image, activate=False)[1]
        return z

    def combine(self, image: Tensor, z: Tensor, earlier: Tensor, earlier_z: Tensor) -> Tensor:
        """Compute the logits of images with the frames before them.

        Args:
            image: (B, 3, H, W) in [0, 1].
            z: (B, C, H/8, W/8), z of `image`.
            earlier: (B, 3, H, W) in [0, 1], the frame before.
            earlier_z: (B, C, H/8, W/8), z of `earlier`.

        Returns:
            (B, K, H, W).
        """
        flow = self.transform(self.flow(image, earlier), image, earlier)
        mixed = self.now.view(-1, 1, 1) * z + self.then.view(-1, 1, 1) * warp(earlier_z, flow, "border")
        return enlarge(self.parsing(mixed.relu()), image)

    def forward(self, frames: Tensor) -> Tensor:
        """Compute logits (B, K, H, W) of the last of frames (B, 2, 3, H, W) in [0, 1]."""
        earlier, now = frames.unbind(1)
        earlier_z, z = self.see(torch.cat([earlier, now])).chunk(2)
        return self.combine(now, z, earlier, earlier_z)

    def losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of a batch's last frames, by name; label 255 is ignored."""
        return {"parsing": parsing_loss(self(batch["frames"]), batch["parts"])}

    def scores(self, batch: ClipBatch) -> Tensor:
        """Compute logits (B, K, H, W) of the last frame of each clip."""
        scores: Tensor = self(batch["frames"])
        return scores

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the logits of every frame of a video; the first frame is its own predecessor.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (1, K, H, W) per frame, in order.
        """
        before: tuple[Tensor, Tensor] | None = None
        for image in frames:
            z = self.see(image)
            yield self.combine(image, z, *(before or (image, z)))
            before = image, z


class FlowTransform(nn.Module):
    """Lambda: refines the flow at the features' resolution using the images; initially the identity."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(a, b, 3, padding=1) for a, b in ((11, 16), (16, 32), (32, 2))]
        self.mend = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2], nn.ReLU())
        self.join = nn.Conv2d(4, 2, 3, padding=1)
        nn.init.zeros_(self.join.weight)
        assert self.join.bias is not None
        nn.init.zeros_(self.join.bias)
        self.join.weight.data[[0, 1], [0, 1], 1, 1] = 1.0

    def forward(self, flow: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """Downsample and refine a flow.

        Args:
            flow: (B, 2, H, W) from target to source, pixels.
            target: (B, 3, H, W) in [0, 1].
            source: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 2, H/8, W/8) in pixels of stride 8; sides round up.
        """
        flow = centred_mean(flow, STRIDE) / STRIDE
        target, source = centred_mean(target, STRIDE), centred_mean(source, STRIDE)
        mended = self.mend(torch.cat([flow, target, source, target - source], 1))
        result: Tensor = self.join(torch.cat([flow, mended], 1))
        return result


def _grey(image: Tensor) -> np.ndarray:
    array = (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
    return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2GRAY)
