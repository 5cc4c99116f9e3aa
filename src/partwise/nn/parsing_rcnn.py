"""Parsing R-CNN's heads on a stride-4 feature: parts, person boxes and masks (ATEN sections 4.3 and 4.5).

torchvision supplies the region-proposal network and the RoI heads; the numbers are those of ATEN's release.
Accepted deviations: one sigmoid objectness logit instead of two softmax logits, the box losses' smooth-L1 beta of
1/9, and RoI samples filled with negatives up to 128.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import roi_align

from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.nn.deeplab import (
    REFERENCE_SIZE,
    STRIDE,
    DeepLabFeature,
    ParsingBranch,
    conv_relu,
    dilations,
    most_probable,
    parsing_loss,
    small,
)
from partwise.ops.instances import boxes_of, join_parts, join_persons
from partwise.ops.resize import Letterbox, canvas_size

ANCHOR_SCALES = (32, 64, 128, 256, 384)  # for REFERENCE_SIZE pixels; scaled with the input
ANCHOR_RATIOS = (2.0, 4 / 3, 1.0)  # height / width, as torchvision wants them
DELTA_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # deltas divided by (0.1, 0.1, 0.2, 0.2) in both stages


class RPNHead(nn.Module):
    """Two 3x3 of the feature's width, one 3x3-512, then objectness and deltas of every anchor."""

    def __init__(self, in_channels: int, num_anchors: int, width: int = 512) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            conv_relu(in_channels, in_channels),
            conv_relu(in_channels, in_channels),
            conv_relu(in_channels, width),
        )
        self.objectness = small(nn.Conv2d(width, num_anchors, 1))
        self.deltas = small(nn.Conv2d(width, 4 * num_anchors, 1))

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """One (B, C, h, w) a level -> objectness (B, A, h, w) and deltas (B, 4A, h, w) a level."""
        trunks = [self.trunk(feature) for feature in features]
        return [self.objectness(t) for t in trunks], [self.deltas(t) for t in trunks]


class RoIPool(nn.Module):
    """Aligned RoIAlign with 2x2 samples a bin on the one stride-4 level."""

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """(B, C, h, w) and per-image boxes (N, 4) -> (sum N, C, s, s)."""
        # float32 throughout: bins of half precision lose sub-pixel positions
        return roi_align(
            features["0"].float(), [b.float() for b in boxes], self.output_size, 1 / STRIDE, 2, aligned=True
        )


class MaskHead(nn.Module):
    """RoI mask logits (N, 2, 28, 28): a convolutional path plus a fully connected one, added before the sigmoid.

    The release adds the second path after the sigmoid, which leaves [0, 1]; the sum of logits keeps the idea.
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
        self.whole = small(nn.Conv2d(width // 2, 784 * 2, 14))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 14, 14) -> (N, 2, 28, 28) logits of nobody and person."""
        if len(x) == 0:  # batch norm has no statistics of an empty batch; keep the parameters in the graph
            return sum((p.sum() * 0 for p in self.parameters()), start=x.new_zeros(0, 2, 28, 28))
        for conv in self.convs[:3]:
            x = conv(x)
        whole = self.whole(self.linear(x)).view(-1, 2, 28, 28)
        return self.local(self.upsample(self.convs[3](x))) + whole


class ParsingHeads(nn.Module):
    """Everything after the feature: the parsing branch, the proposals, and boxes and masks of the persons.

    Args:
        num_classes: part classes, background included.
        in_channels: channels of the feature.
        image_size: side of the input, or its (height, width); anchors, and with them the numbers of proposals, scale
            with its longer side.
        box_width: width of the box head's two layers.
        rois: proposals of an image that the heads train on.
        proposals: of a 512-pixel image that they see in testing, of six times as many before suppression.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        image_size: int | Sequence[int] = 512,
        box_width: int = 1024,
        rois: int = 128,
        proposals: int = 1000,
    ) -> None:
        super().__init__()
        self.parsing = ParsingBranch(in_channels, num_classes, dilations(image_size))
        self.rpn = _region_proposals(in_channels, image_size, proposals)
        self.roi_trunk = nn.Sequential(conv_relu(in_channels, in_channels), conv_relu(in_channels, in_channels))
        self.roi_heads = RoIHeads(
            RoIPool(7), TwoMLPHead(in_channels * 49, box_width), FastRCNNPredictor(box_width, 2),
            fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=rois, positive_fraction=0.33,
            bbox_reg_weights=DELTA_WEIGHTS, score_thresh=0.7, nms_thresh=0.3, detections_per_img=100,
            mask_roi_pool=RoIPool(14), mask_head=MaskHead(in_channels, in_channels), mask_predictor=nn.Identity(),
        )  # fmt: skip

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None) -> dict[str, Tensor]:
        """The six losses of ATEN Eq. 7 (and the RPN's box loss, which the equation leaves out), unit weights.

        Args:
            feature: (B, C, H/4, W/4).
            parts: (B, H, W) int64, 255 ignored.
            instances: (B, H, W) int64 person ids.
        """
        if instances is None:
            raise InputError(
                "persons are to be parsed but the data have none; set model.network.persons=false and "
                "model.instances=false, or take vip or pascal_person_part, which have them"
            )
        size = (parts.shape[-2], parts.shape[-1])
        targets = [_detection_target(ids) for ids in instances]
        images = ImageList(parts.unsqueeze(1), [size] * len(parts))
        proposals, rpn = self.rpn(images, {"0": feature}, targets)
        _, roi = self.roi_heads({"0": self.roi_trunk(feature)}, proposals, images.image_sizes, targets)
        return {
            "rpn_objectness": rpn["loss_objectness"],
            "rpn_box": rpn["loss_rpn_box_reg"],
            "person": roi["loss_classifier"],
            "box": roi["loss_box_reg"],
            "mask": roi["loss_mask"],
            "parsing": parsing_loss(self.parsing(feature), parts),
        }

    def parse(self, feature: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Joined parts and persons of each image at its native size.

        Args:
            feature: (B, C, H/4, W/4).
            letterboxes: where each image lies on the canvas.
        """
        canvas = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
        logits = F.interpolate(self.parsing(feature), canvas, mode="bilinear", align_corners=False)
        images = ImageList(logits, [canvas] * len(logits))
        proposals, _ = self.rpn(images, {"0": feature})
        detections, _ = self.roi_heads({"0": self.roi_trunk(feature)}, proposals, images.image_sizes)
        return [_join(*pair) for pair in zip(logits.float().softmax(1), detections, letterboxes, strict=True)]


class DenseHeads(nn.Module):
    """The parsing branch alone, where there are no persons to tell apart.

    Args:
        num_classes: part classes, background included.
        in_channels: channels of the feature.
        image_size: side of the input in pixels, or its (height, width).
    """

    def __init__(self, num_classes: int, in_channels: int = 256, image_size: int | Sequence[int] = 512) -> None:
        super().__init__()
        self.parsing = ParsingBranch(in_channels, num_classes, dilations(image_size))

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy of features (B, C, H/4, W/4) against parts (B, H, W), 255 ignored."""
        return {"parsing": parsing_loss(self.parsing(feature), parts)}

    def parse(self, feature: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parts of each image at its native size."""
        canvas = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
        logits = F.interpolate(self.parsing(feature), canvas, mode="bilinear", align_corners=False)
        return most_probable(logits.float().softmax(1), letterboxes)


def make_heads(
    num_classes: int,
    width: int,
    image_size: int | Sequence[int],
    persons: bool,
    box_width: int,
    rois: int,
    proposals: int = 1000,
) -> ParsingHeads | DenseHeads:
    """N_parse on a feature of `width` channels, with or without persons."""
    if not persons:
        return DenseHeads(num_classes, width, image_size)
    return ParsingHeads(num_classes, width, image_size, box_width, rois, proposals)


class ParsingRCNN(nn.Module):
    """ATEN's frame-level model: the DeepLabv3+ feature and `ParsingHeads` on it.

    Args:
        num_classes: part classes, background included.
        image_size: side of the input in pixels, or its (height, width); multiples of 16.
        persons: also find persons and part instances; False leaves the parsing branch alone (DAVIS).
        backbone: name of a timm ResNet.
        pretrained: start from timm's ImageNet weights and freeze their batch-norm statistics.
        width: channels of the feature.
        box_width: width of the box head.
        rois: proposals of an image that the heads train on.
        backbone_multiplier: of the backbone's widths, from scratch only.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = 512,
        persons: bool = True,
        backbone: str = "resnet50",
        pretrained: bool = True,
        width: int = 256,
        box_width: int = 1024,
        rois: int = 128,
        backbone_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.feature = DeepLabFeature(backbone, pretrained, width, image_size, backbone_multiplier)
        self.heads = make_heads(num_classes, width, image_size, persons, box_width, rois)

    def losses(self, images: Tensor, parts: Tensor, instances: Tensor | None = None) -> dict[str, Tensor]:
        """Training losses of images (B, 3, H, W) in [0, 1]; see `ParsingHeads.losses`."""
        return self.heads.losses(self.feature(images), parts, instances)

    def parse(self, images: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse letterboxed images (B, 3, H, W) in [0, 1]; results at each image's native size."""
        return self.heads.parse(self.feature(images), letterboxes)


def _region_proposals(in_channels: int, image_size: int | Sequence[int], proposals: int) -> RegionProposalNetwork:
    scale = max(canvas_size(image_size)) / REFERENCE_SIZE
    area = scale**2  # anchors grow with the area, so the numbers of proposals do
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


def _detection_target(instances: Tensor) -> dict[str, Tensor]:
    ids, boxes = boxes_of(instances)
    masks = instances == ids[:, None, None]
    return {"boxes": boxes, "labels": torch.ones_like(ids), "masks": masks.to(torch.uint8)}


def _join(probs: Tensor, detected: dict[str, Tensor], letterbox: Letterbox) -> Parsing:
    native = letterbox.restore(probs[None])[0]
    boxes = letterbox.restore_boxes(detected["boxes"])
    persons, boxes = join_persons(detected["masks"][:, 0], boxes, detected["scores"], letterbox.native)
    parts, part_instances = join_parts(native, persons)
    return Parsing(parts=parts, persons=persons, boxes=boxes, part_instances=part_instances)
