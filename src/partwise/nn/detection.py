"""Region proposals and RoI heads of Parsing R-CNN (ATEN sections 4.3 and 4.5): torchvision's, with ATEN's numbers.

In mixed precision only convolutions and fully connected layers run in half precision. Boxes and losses stay float32:
bfloat16 has 8 significant bits, so a coordinate near 500 would be off by up to 2 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.rpn import RPNHead as TorchvisionRPNHead
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import initLevelMapper

from partwise.nn.deeplab import REFERENCE_SIZE, STRIDE
from partwise.nn.feature_pyramid import STRIDES
from partwise.nn.layers import conv_relu, near_zero
from partwise.ops.instances import boxes_of
from partwise.ops.resize import Letterbox, canvas_size

ANCHOR_SCALES = (32, 64, 128, 256, 384)  # for REFERENCE_SIZE pixels; scaled with the input
ANCHOR_RATIOS = (2.0, 4 / 3, 1.0)  # height / width, torchvision's convention
DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # deltas divided by (0.1, 0.1, 0.2, 0.2) in both stages


class RPNHead(nn.Module):
    """Two 3x3 convolutions of the feature's width, one of `width`, then objectness and box deltas of every anchor.

    Args:
        in_channels: channels of the feature.
        num_anchors: A, anchors per position.
        width: channels of the last 3x3 convolution.
    """

    def __init__(self, in_channels: int, num_anchors: int, width: int = 512) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_relu(in_channels, in_channels),
            conv_relu(in_channels, in_channels),
            conv_relu(in_channels, width),
        )
        self.objectness = near_zero(nn.Conv2d(width, num_anchors, 1))
        self.deltas = near_zero(nn.Conv2d(width, 4 * num_anchors, 1))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Compute objectness and box deltas of every anchor.

        Args:
            features: (B, C, h, w) per level.

        Returns:
            float32 objectness (B, A, h, w) per level and deltas (B, 4A, h, w) per level.
        """
        trunks = [self.trunk(feature) for feature in features]
        return [self.objectness(t).float() for t in trunks], [self.deltas(t).float() for t in trunks]


class RoIPool(nn.Module):
    """Aligned RoIAlign with 2x2 samples per bin on the single stride-4 level.

    Args:
        output_size: s, bins per side.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: object) -> Tensor:
        """Pool the feature inside each box.

        Args:
            features: the level "0", (B, C, h, w).
            boxes: (N, 4) xyxy in pixels of the canvas, per image.
            image_shapes: not used; torchvision passes it.

        Returns:
            float32 (sum of N, C, s, s).
        """
        # float32 throughout: bins of half precision lose sub-pixel positions
        return roi_align(
            features["0"].float(), [b.float() for b in boxes], self.output_size, 1 / STRIDE, 2, aligned=True
        )


class BoxPredictor(FastRCNNPredictor):
    """The output layers of the box head: two classes and their box deltas."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute float32 logits (N, 2) of background and person, and deltas (N, 8), from features (N, C)."""
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()


class MaskHead(nn.Module):
    """RoI mask logits: the sum of a convolutional and a fully connected path, added before the sigmoid.

    The release adds the second path after the sigmoid, so that values leave [0, 1].

    Args:
        in_channels: channels of the pooled feature.
        width: channels of the convolutions.
    """

    def __init__(self, in_channels: int, width: int = 256) -> None:
        super().__init__()
        channels = [in_channels, width, width, width, width]
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b in pairwise(channels)
        )
        self.upsample = nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2), nn.ReLU(inplace=True))
        self.local = nn.Conv2d(width, 2, 1)
        self.linear = nn.Sequential(conv_relu(width, width), conv_relu(width, width // 2))
        self.whole = near_zero(nn.Conv2d(width // 2, 784 * 2, 14))

    def forward(self, x: Tensor) -> Tensor:
        """Compute float32 mask logits (N, 2, 28, 28) of background and person from pooled features (N, C, 14, 14).

        N = 0 takes the same path. Batch norm then keeps its statistics, and synchronised batch norm still exchanges
        them with the other processes, which would wait for this one forever.
        """
        # Synchronised batch norm exchanges float32 if there are RoIs, but its input's type if there are none.
        with torch.autocast(x.device.type, enabled=False) if len(x) == 0 else nullcontext():
            for conv in self.convs[:3]:
                x = conv(x)
            whole = self.whole(self.linear(x)).view(len(x), 2, 28, 28)
            return (self.local(self.upsample(self.convs[3](x))) + whole).float()


class PyramidRPNHead(TorchvisionRPNHead):
    """torchvision's head of the region proposals on feature pyramids, with float32 outputs."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Compute objectness (B, A, h, w) and deltas (B, 4A, h, w) of every anchor, from (B, C, h, w), per level."""
        objectness, deltas = super().forward(x)
        return [each.float() for each in objectness], [each.float() for each in deltas]


class MaskPredictor(MaskRCNNPredictor):
    """The last layers of Mask R-CNN's mask head, with float32 outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute mask logits (N, 2, 2s, 2s) of background and person from features (N, C, s, s)."""
        logits: Tensor = super().forward(x)
        return logits.float()


class PyramidPool(MultiScaleRoIAlign):
    """RoIAlign on that of four levels, of strides 4 to 32, that fits each box's size, whatever the images' sizes.

    Args:
        output_size: s, bins per side.
        canonical: side in pixels of the boxes that the level of stride 16 is for.
    """

    def __init__(self, output_size: int, canonical: float) -> None:
        super().__init__([str(level) for level in range(len(STRIDES))], output_size, sampling_ratio=2)
        self.scales = [1 / stride for stride in STRIDES]
        self.map_levels = initLevelMapper(2, 5, canonical_scale=canonical)


class PersonHeads(RoIHeads):
    """torchvision's RoI heads with detections clipped to their image's window of the canvas.

    As in ATEN's release, boxes are clipped before their masks are predicted: a mask spans its box, so clipping the box
    later would squeeze the mask. In evaluation `image_shapes` are letterboxes.
    """

    def postprocess_detections(
        self, class_logits: Tensor, box_regression: Tensor, proposals: list[Tensor], image_shapes: Sequence[Letterbox]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Turn the box head's outputs into detections, clipped to each image's window.

        Args:
            class_logits: (sum of R, 2) of background and person.
            box_regression: (sum of R, 8) deltas.
            proposals: (R, 4) xyxy on the canvas, per image.
            image_shapes: how each image lies on the canvas.

        Returns:
            boxes (N, 4) xyxy on the canvas, scores (N,) in [0, 1] and labels (N,), each per image.
        """
        corners = [box.new_tensor([i.left, i.top] * 2) for box, i in zip(proposals, image_shapes, strict=True)]
        # torchvision clips to (0, 0, width, height), so boxes are shifted to the window's corner; deltas are relative.
        local = [box - corner for box, corner in zip(proposals, corners, strict=True)]
        windows = [(i.height, i.width) for i in image_shapes]
        boxes, scores, labels = super().postprocess_detections(class_logits, box_regression, local, windows)
        return [box + corner for box, corner in zip(boxes, corners, strict=True)], scores, labels


def region_proposals(in_channels: int, image_size: int | Sequence[int], proposals: int) -> RegionProposalNetwork:
    """Build the region-proposal network.

    Args:
        in_channels: channels of the feature.
        image_size: side of the square input in pixels, or its (height, width). Anchors scale with the longer side and
            the numbers of proposals with its square.
        proposals: proposals kept in testing for a 512-pixel image; six times as many enter non-maximum suppression.

    Returns:
        torchvision's network, with float32 outputs.
    """
    scale = max(canvas_size(image_size)) / REFERENCE_SIZE
    area = scale**2  # the number of anchors grows with the area, so that of proposals does too
    sizes = tuple(s * scale for s in ANCHOR_SCALES)
    rpn = RegionProposalNetwork(
        AnchorGenerator((sizes,), (ANCHOR_RATIOS,)),
        RPNHead(in_channels, len(ANCHOR_SCALES) * len(ANCHOR_RATIOS), 2 * in_channels),
        fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
        pre_nms_top_n={"training": round(12000 * area), "testing": round(6 * proposals * area)},
        post_nms_top_n={"training": round(2000 * area), "testing": round(proposals * area)},
        nms_thresh=0.7,
    )  # fmt: skip
    rpn.box_coder = BoxCoder(weights=DELTA_WEIGHTS)
    return rpn


def person_heads(in_channels: int, box_width: int, rois: int, mask_width: int) -> PersonHeads:
    """Build the box and mask heads of the persons.

    Args:
        in_channels: channels of the feature.
        box_width: width of the box head's two layers.
        rois: proposals per image that the heads train on.
        mask_width: channels of the mask head.

    Returns:
        torchvision's RoI heads, with detections clipped to their images.
    """
    return PersonHeads(
        RoIPool(7), TwoMLPHead(in_channels * 49, box_width), BoxPredictor(box_width, 2),
        fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=rois, positive_fraction=0.33,
        bbox_reg_weights=DELTA_WEIGHTS, score_thresh=0.7, nms_thresh=0.3, detections_per_img=100,
        mask_roi_pool=RoIPool(14), mask_head=MaskHead(in_channels, mask_width), mask_predictor=nn.Identity(),
    )  # fmt: skip


def detection_targets(instances: Tensor) -> list[dict[str, Tensor]]:
    """Build torchvision's detection targets from instance maps.

    Args:
        instances: (B, H, W) int64 person ids, 0 = nobody.

    Returns:
        per image the N persons' "boxes" (N, 4) float32 xyxy, "labels" (N,) int64, all 1, and "masks" (N, H, W) uint8.
    """
    return [
        {"boxes": boxes, "labels": torch.ones_like(ids), "masks": (people == ids[:, None, None]).to(torch.uint8)}
        for people, (ids, boxes) in zip(instances, boxes_of(instances), strict=True)
    ]
