"""Mask R-CNN (He et al., ICCV 2017) of persons: torchvision's heads on a feature pyramid, with torchvision's numbers.

Only convolutions and fully connected layers run in half precision; boxes and losses stay float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from partwise.batches import ImageBatch, InstanceMasks, Parsing
from partwise.errors import InputError
from partwise.nn.dense import at_once
from partwise.nn.detection import (
    BoxPredictor,
    MaskPredictor,
    PersonHeads,
    PyramidPool,
    PyramidRPNHead,
    detection_targets,
)
from partwise.nn.feature_pyramid import FeaturePyramid
from partwise.ops.instances import paste_mask
from partwise.ops.resize import Letterbox, canvas_size

ANCHOR_SCALES = (32, 64, 128, 256, 512)  # of the five levels, for images of REFERENCE_SIZE
ANCHOR_RATIOS = (0.5, 1.0, 2.0)  # height / width
REFERENCE_SIZE = 1333  # longest side of the images that Mask R-CNN is trained on
CANONICAL = 224  # side of the RoIs that the level of stride 16 is for, in such images


class MaskRCNN(nn.Module):
    """Mask R-CNN with two classes, background and person. People may overlap.

    torchvision's anchors, and the sizes by which RoIs are given to levels, are for images of 1333 pixels; they scale
    with the input.

    Args:
        pyramid: computes four levels of features.
        image_size: side of the square input in pixels, or its (height, width).
        box_width: width of the box head's two layers.
        mask_width: channels of the mask head.
        rois: proposals per image that the heads train on.
        proposals: proposals per image after non-maximum suppression in testing; twice as many in training, and up to
            as many of each level enter it.
        least: score from which detections are kept.
    """

    def __init__(
        self,
        pyramid: FeaturePyramid,
        image_size: int | Sequence[int] = 512,
        box_width: int = 1024,
        mask_width: int = 256,
        rois: int = 512,
        proposals: int = 1000,
        least: float = 0.05,
    ) -> None:
        super().__init__()
        scale = max(canvas_size(image_size)) / REFERENCE_SIZE
        self.pyramid = pyramid
        self.rpn = _region_proposals(pyramid.width, scale, proposals)
        self.roi_heads = PersonHeads(
            PyramidPool(7, CANONICAL * scale), TwoMLPHead(pyramid.width * 49, box_width), BoxPredictor(box_width, 2),
            fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=rois, positive_fraction=0.25,
            bbox_reg_weights=None, score_thresh=least, nms_thresh=0.5, detections_per_img=100,
            mask_roi_pool=PyramidPool(14, CANONICAL * scale),
            mask_head=MaskRCNNHeads(pyramid.width, [mask_width] * 4, dilation=1),
            mask_predictor=MaskPredictor(mask_width, mask_width, 2),
        )  # fmt: skip

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the losses of the proposals, of the boxes and of the masks.

        Args:
            batch: images (B, 3, H, W) in [0, 1], and instances (B, H, W).

        Returns:
            five losses () by name.

        Raises:
            InputError: the data have no persons.
        """
        if "instances" not in batch:
            raise InputError("Mask R-CNN learns from persons but the data have none; take coco_persons, which has them")
        targets = detection_targets(batch["instances"])
        features, images = self._features(batch["images"])
        proposals, first = self.rpn(images, features, targets)
        _, second = self.roi_heads(dict(list(features.items())[:-1]), proposals, images.image_sizes, targets)
        return {
            "rpn_objectness": first["loss_objectness"],
            "rpn_box": first["loss_rpn_box_reg"],
            "person": second["loss_classifier"],
            "box": second["loss_box_reg"],
            "mask": second["loss_mask"],
        }

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Detect and segment the persons of a batch's images.

        Args:
            batch: batch of B images.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes: the persons, in descending order of score, their boxes, and as
            parts the foreground (1).
        """
        return self._parse(batch["images"], letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Returns:
            one parsing per frame at its native size, in order.
        """
        return chain.from_iterable(self._parse(images, [letterbox] * len(images)) for images in at_once(frames))

    def _parse(self, images: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        features, canvas = self._features(images)
        proposals, _ = self.rpn(canvas, features)
        found, _ = self.roi_heads(dict(list(features.items())[:-1]), proposals, letterboxes)
        return [_parsing(each, letterbox) for each, letterbox in zip(found, letterboxes, strict=True)]

    def _features(self, images: Tensor) -> tuple[dict[str, Tensor], ImageList]:
        """Levels by name, float32 as anchors and RoIs need them, the coarsest one for proposals alone."""
        levels = [level.float() for level in self.pyramid(images)]
        levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        size = (images.shape[-2], images.shape[-1])
        return {str(n): level for n, level in enumerate(levels)}, ImageList(images, [size] * len(images))


def _region_proposals(width: int, scale: float, proposals: int) -> RegionProposalNetwork:
    anchors = AnchorGenerator(tuple((side * scale,) for side in ANCHOR_SCALES), (ANCHOR_RATIOS,) * len(ANCHOR_SCALES))
    return RegionProposalNetwork(
        anchors, PyramidRPNHead(width, len(ANCHOR_RATIOS)),
        fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=256, positive_fraction=0.5,
        pre_nms_top_n={"training": 2 * proposals, "testing": proposals},
        post_nms_top_n={"training": 2 * proposals, "testing": proposals},
        nms_thresh=0.7,
    )  # fmt: skip


def _parsing(detected: dict[str, Tensor], letterbox: Letterbox) -> Parsing:
    """Paste the masks of one image's detections."""
    boxes = letterbox.restore_boxes(detected["boxes"])
    masks = torch.zeros(len(boxes), *letterbox.native, dtype=torch.bool, device=boxes.device)
    for whole, mask, box in zip(masks, detected["masks"][:, 0], boxes.tolist(), strict=True):
        rows, columns, inside = paste_mask(mask, box, letterbox.native)
        whole[rows, columns] = inside
    persons = InstanceMasks(masks=masks, classes=detected["labels"], scores=detected["scores"].float())
    return Parsing(parts=masks.any(0).long(), persons=persons, boxes=boxes)
