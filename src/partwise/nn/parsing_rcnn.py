"""Parsing R-CNN's heads on a stride-4 feature: parts, person boxes and masks (ATEN sections 4.3 and 4.5).

torchvision provides the region-proposal network and the RoI heads; the numbers are those of ATEN's release. Accepted
deviations: one sigmoid objectness logit instead of two softmax logits, a smooth-L1 beta of 1/9 in the box losses, and
RoI samples filled up to 128 with negatives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from partwise.batches import ClipBatch, ImageBatch, Parsing
from partwise.errors import InputError
from partwise.nn.deeplab import STRIDE, DeepLabFeature, ParsingBranch, dilations
from partwise.nn.dense import Batch, at_once, most_probable
from partwise.nn.detection import detection_targets, person_heads, region_proposals
from partwise.nn.layers import conv_relu
from partwise.nn.losses import parsing_loss
from partwise.ops.instances import join_parts, join_persons
from partwise.ops.resize import Letterbox


class ParsingHeads(nn.Module):
    """N_parse: the parsing branch, region proposals, and the persons' box and mask heads.

    Args:
        num_classes: part classes, background included.
        in_channels: channels of the feature.
        image_size: side of the square input in pixels, or its (height, width). Anchors scale with the longer side and
            the numbers of proposals with its square.
        box_width: width of the box head's two layers.
        rois: proposals per image that the heads train on.
        proposals: proposals kept in testing for a 512-pixel image; six times as many enter non-maximum suppression.
        mask_width: channels of the mask head; None: `in_channels`, as in the release.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        image_size: int | Sequence[int] = 512,
        box_width: int = 1024,
        rois: int = 128,
        proposals: int = 1000,
        mask_width: int | None = None,
    ) -> None:
        super().__init__()
        self.parsing = ParsingBranch(in_channels, num_classes, dilations(image_size))
        self.rpn = region_proposals(in_channels, image_size, proposals)
        self.roi_trunk = nn.Sequential(conv_relu(in_channels, in_channels), conv_relu(in_channels, in_channels))
        self.roi_heads = person_heads(in_channels, box_width, rois, mask_width or in_channels)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compile each group of layers separately; torchvision's code between them depends on the detections.

        Args:
            arguments: positional arguments of `nn.Module.compile`.
            options: keyword arguments of `nn.Module.compile`.
        """
        roi = self.roi_heads
        for part in (self.parsing, self.rpn.head, self.roi_trunk, roi.box_head, roi.box_predictor, roi.mask_head):
            part.compile(*arguments, **options)

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None) -> dict[str, Tensor]:
        """Compute the losses of ATEN Eq. 7, and the region proposals' box loss that it omits, with unit weights.

        Args:
            feature: (B, C, H/4, W/4).
            parts: (B, H, W) int64; 255 is ignored.
            instances: (B, H, W) int64 person ids, 0 = nobody.

        Returns:
            six losses () by name.

        Raises:
            InputError: `instances` is None, so the data have no persons.
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
        """Detect persons, parse parts and join the two, at each image's native size.

        Args:
            feature: (B, C, H/4, W/4).
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings with all fields.
        """
        probs = _probabilities(self.parsing, feature)
        detections = self.detect(feature, letterboxes)
        return [_join(*pair) for pair in zip(probs, detections, letterboxes, strict=True)]

    def detect(self, feature: Tensor, letterboxes: Sequence[Letterbox]) -> list[dict[str, Tensor]]:
        """Detect persons, of whom each is detected once and none overlaps another by an IoU of 0.3.

        Args:
            feature: (B, C, H/4, W/4).
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            per image, "boxes" (D, 4) xyxy on the canvas, "scores" (D,) in descending order, "labels" (D,) all 1, and
            "masks" (D, 1, 28, 28) probabilities within the boxes.
        """
        sides = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
        images = ImageList(feature.new_empty(len(feature), 3, *sides), [sides] * len(feature))
        proposals, _ = self.rpn(images, _float(feature))
        detections, _ = self.roi_heads({"0": self.roi_trunk(feature)}, proposals, letterboxes)
        found: list[dict[str, Tensor]] = detections
        return found


class DenseHeads(nn.Module):
    """The parsing branch alone, for data without persons.

    Args:
        num_classes: part classes, background included.
        in_channels: channels of the feature.
        image_size: side of the square input in pixels, or its (height, width); determines the dilations.
    """

    def __init__(self, num_classes: int, in_channels: int = 256, image_size: int | Sequence[int] = 512) -> None:
        super().__init__()
        self.parsing = ParsingBranch(in_channels, num_classes, dilations(image_size))

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Compile the layers.

        Args:
            arguments: positional arguments of `nn.Module.compile`.
            options: keyword arguments of `nn.Module.compile`.
        """
        self.parsing.compile(*arguments, **options)

    def losses(self, feature: Tensor, parts: Tensor, instances: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the cross-entropy of the parts.

        Args:
            feature: (B, C, H/4, W/4).
            parts: (B, H, W) int64; 255 is ignored.
            instances: not used; `ParsingHeads` takes them.

        Returns:
            the loss () by name.
        """
        return {"parsing": parsing_loss(self.parsing(feature), parts)}

    def parse(self, feature: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Take the most probable class of every pixel, at each image's native size.

        Args:
            feature: (B, C, H/4, W/4).
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings with `parts` alone.
        """
        return most_probable(_probabilities(self.parsing, feature), letterboxes)


class HeadedParser(nn.Module, ABC, Generic[Batch]):
    """A parser made of features and heads. Subclasses define `sample_features` and `stream_features`."""

    heads: ParsingHeads | DenseHeads

    @abstractmethod
    def sample_features(self, batch: Batch) -> Tensor:
        """Compute the features (B, C, H/4, W/4) of a batch's B samples."""

    @abstractmethod
    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the features of a video, frame by frame or some frames together.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (n, C, H/4, W/4) features of the next n frames.
        """

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the heads' losses () of a batch by name, with unit weights (ATEN Eq. 7); label 255 is ignored.

        Raises:
            InputError: the heads parse persons but the data have none.
        """
        return self.heads.losses(self.sample_features(batch), batch["parts"], batch.get("instances"))

    def parse(self, batch: Batch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse the samples of a batch.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B pictures lies on the canvas.

        Returns:
            B parsings at the pictures' native sizes.
        """
        return self.heads.parse(self.sample_features(batch), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Yields:
            one parsing per frame at its native size, in order.
        """
        for features in self.stream_features(frames):
            yield from self.heads.parse(features, [letterbox] * len(features))


class ParsingRCNN(HeadedParser[ImageBatch | ClipBatch]):
    """ATEN's frame-level model: the DeepLabv3+ feature and heads on it.

    Args:
        feature: N_feat, computes (B, C, H/4, W/4) from images.
        heads: N_parse for C channels; `ParsingHeads` for parts and persons, `DenseHeads` for parts alone.
    """

    def __init__(self, feature: DeepLabFeature, heads: ParsingHeads | DenseHeads) -> None:
        super().__init__()
        self.feature, self.heads = feature, heads

    def sample_features(self, batch: ImageBatch | ClipBatch) -> Tensor:
        """Compute the features (B, C, H/4, W/4) of a batch's images, or of the last frames of its clips."""
        features: Tensor = self.feature(batch["frames"][:, -1] if "frames" in batch else batch["images"])
        return features

    def stream_features(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the features of a video, some frames together, each independent of the others.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (n, C, H/4, W/4) features of the next n frames.
        """
        return map(self.feature, at_once(frames))


def _float(feature: Tensor) -> dict[str, Tensor]:
    """Convert a feature (B, C, h, w) for the proposals: anchors take its type, which must be float32."""
    return {"0": feature.float()}


def _probabilities(branch: ParsingBranch, feature: Tensor) -> Tensor:
    """Compute part probabilities (B, K, 4h, 4w), float32, of a feature (B, C, h, w)."""
    canvas = (feature.shape[-2] * STRIDE, feature.shape[-1] * STRIDE)
    return F.interpolate(branch(feature).float(), canvas, mode="bilinear", align_corners=False).softmax(1)


def _join(probs: Tensor, detected: dict[str, Tensor], letterbox: Letterbox) -> Parsing:
    native = letterbox.restore(probs[None])[0]
    boxes = letterbox.restore_boxes(detected["boxes"])
    persons, boxes = join_persons(detected["masks"][:, 0], boxes, detected["scores"], letterbox.native)
    parts, part_instances = join_parts(native, persons)
    return Parsing(parts=parts, persons=persons, boxes=boxes, part_instances=part_instances)
