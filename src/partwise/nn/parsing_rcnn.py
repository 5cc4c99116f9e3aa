"""Parsing R-CNN's heads on a stride-4 feature: parts, person boxes and masks (ATEN sections 4.3 and 4.5).

torchvision supplies the region-proposal network and the RoI heads; the numbers are those of ATEN's release.
Accepted deviations: one sigmoid objectness logit instead of two softmax logits, the box losses' smooth-L1 beta of
1/9, and RoI samples filled with negatives up to 128.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from partwise.batches import ClipBatch, ImageBatch, Parsing
from partwise.errors import InputError
from partwise.nn.deeplab import STRIDE, DeepLabFeature, ParsingBranch, dilations
from partwise.nn.dense import at_once, most_probable
from partwise.nn.detection import detection_targets, person_heads, region_proposals
from partwise.nn.layers import conv_relu
from partwise.nn.losses import parsing_loss
from partwise.ops.instances import join_parts, join_persons
from partwise.ops.resize import Letterbox


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
        self.rpn = region_proposals(in_channels, image_size, proposals)
        self.roi_trunk = nn.Sequential(conv_relu(in_channels, in_channels), conv_relu(in_channels, in_channels))
        self.roi_heads = person_heads(in_channels, box_width, rois)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compile the layers, each part by itself: what torchvision does between them depends on what is found."""
        roi = self.roi_heads
        for part in (self.parsing, self.rpn.head, self.roi_trunk, roi.box_head, roi.box_predictor, roi.mask_head):
            part.compile(*arguments, **options)

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None) -> dict[str, Tensor]:
        """The six losses of ATEN Eq. 7 (and the RPN's box loss, which the equation leaves out), unit weights.

        Args:
            feature: (B, C, H/4, W/4).
            parts: (B, H, W) int64, 255 ignored.
            instances: (B, H, W) int64 person ids.
        """
        if instances is None:
            raise InputError(
                "persons are to be parsed but the data have none: take vip or pascal_person_part, which have them, or "
                "set the group model/heads@model.network.heads=parts (of ATEN and FGFA model.network.frame.heads)"
            )
        size = (parts.shape[-2], parts.shape[-1])
        targets = detection_targets(instances)
        images = ImageList(parts.unsqueeze(1), [size] * len(parts))
        proposals, rpn = self.rpn(images, _float(feature), targets)
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
        probs = _probabilities(self.parsing, feature)
        images = ImageList(probs, [(probs.shape[-2], probs.shape[-1])] * len(probs))
        proposals, _ = self.rpn(images, _float(feature))
        detections, _ = self.roi_heads({"0": self.roi_trunk(feature)}, proposals, letterboxes)
        return [_join(*pair) for pair in zip(probs, detections, letterboxes, strict=True)]


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

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compile the layers."""
        self.parsing.compile(*arguments, **options)

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy of features (B, C, H/4, W/4) against parts (B, H, W), 255 ignored."""
        return {"parsing": parsing_loss(self.parsing(feature), parts)}

    def parse(self, feature: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parts of each image at its native size."""
        return most_probable(_probabilities(self.parsing, feature), letterboxes)


class HeadedParser(nn.Module, ABC):
    """A parser in two steps, features and heads. Subclasses define `sample_features` and `stream_features`."""

    heads: ParsingHeads | DenseHeads

    @abstractmethod
    def sample_features(self, batch: Any) -> Tensor:
        """Compute the features (B, C, H/4, W/4) of a batch's B samples."""

    @abstractmethod
    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the features of a video's frames (1, 3, H, W) in order: (n, C, H/4, W/4) of the next n each time."""

    def losses(self, batch: ImageBatch | ClipBatch) -> dict[str, Tensor]:
        """Compute the heads' losses of a batch, with unit weights (ATEN Eq. 7); see `ParsingHeads.losses`."""
        return self.heads.losses(self.sample_features(batch), batch["parts"], batch.get("instances"))

    def parse(self, batch: Any, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse a batch's samples at their native size; see `partwise.models.contract`."""
        return self.heads.parse(self.sample_features(batch), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video; see `partwise.models.contract`."""
        for features in self.stream_features(frames):
            yield from self.heads.parse(features, [letterbox] * len(features))


class ParsingRCNN(HeadedParser):
    """ATEN's frame-level model: the DeepLabv3+ feature and `ParsingHeads` on it.

    Args:
        feature: N_feat, from images to a feature (B, C, H/4, W/4).
        heads: N_parse, from the feature to parts and persons, or to parts alone; for C channels.
    """

    def __init__(self, feature: DeepLabFeature, heads: ParsingHeads | DenseHeads) -> None:
        super().__init__()
        self.feature, self.heads = feature, heads

    def sample_features(self, batch: ImageBatch) -> Tensor:
        """Compute the features of a batch's images."""
        features: Tensor = self.feature(batch["images"])
        return features

    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the features of a video's frames, each by itself, some together; see `at_once`."""
        return map(self.feature, at_once(frames))


def _float(feature: Tensor) -> dict[str, Tensor]:
    """A feature (B, C, h, w) as the proposals want it: anchors take its type, which must be float32."""
    return {"0": feature.float()}


def _probabilities(branch: ParsingBranch, feature: Tensor) -> Tensor:
    """Part probabilities (B, C, 4h, 4w) of a feature (B, C', h, w), float32."""
    canvas = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
    return F.interpolate(branch(feature).float(), canvas, mode="bilinear", align_corners=False).softmax(1)


def _join(probs: Tensor, detected: dict[str, Tensor], letterbox: Letterbox) -> Parsing:
    native = letterbox.restore(probs[None])[0]
    boxes = letterbox.restore_boxes(detected["boxes"])
    persons, boxes = join_persons(detected["masks"][:, 0], boxes, detected["scores"], letterbox.native)
    parts, part_instances = join_parts(native, persons)
    return Parsing(parts=parts, persons=persons, boxes=boxes, part_instances=part_instances)
