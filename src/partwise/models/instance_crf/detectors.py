"""Where the Instance CRF's detections come from: the true persons, spoilt as stated, a network, or a file."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn
from torchvision.ops import nms

from partwise.batches import ImageBatch
from partwise.errors import InputError
from partwise.io.coco_json import read_detections
from partwise.models.scoring import letterboxes
from partwise.nn.parsing_rcnn import ParsingHeads, ParsingRCNN
from partwise.nn.weights import TORCH_HUB, missing_weights
from partwise.ops.instances import boxes_of
from partwise.ops.resize import Letterbox, canvas_size

PERSON = 1  # category id of persons in COCO, and in torchvision's detectors


class Detections(NamedTuple):
    """Detected persons of one image.

    Attributes:
        boxes: (D, 4) xyxy in pixels of the canvas, ends included.
        scores: (D,) in 0..1.
    """

    boxes: Tensor
    scores: Tensor


class TrueBoxes(nn.Module):
    """The boxes of the true persons, spoilt in stated ways that follow from the sample's name.

    True boxes have scores of 0.7 to 1, false ones of 0.5 to 0.7.

    Args:
        jitter: standard deviation by which each side is moved, as a share of the box's size.
        truncated: probability that a box lacks 20 to 40 % of its height or width at one end.
        missed: probability that a person has no box.
        spurious: mean number of boxes of nobody in an image.
        seed: of the draws.
    """

    def __init__(
        self, jitter: float = 0.0, truncated: float = 0.0, missed: float = 0.0, spurious: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.jitter, self.truncated, self.missed, self.spurious, self.seed = jitter, truncated, missed, spurious, seed

    def forward(self, batch: ImageBatch) -> list[Detections]:
        """Take the boxes of a batch's persons.

        Raises:
            InputError: the data have no persons.
        """
        if "instances" not in batch:
            raise InputError("these pictures have no true persons to take boxes from; set model.network.detector")
        found = boxes_of(batch["instances"])
        return [
            self.spoil(boxes - boxes.new_tensor([0, 0, 1, 1]), batch["instances"].shape[1:], name)
            for (_, boxes), name in zip(found, batch["sample_ids"], strict=True)
        ]

    def spoil(self, boxes: Tensor, size: Sequence[int], name: str) -> Detections:
        """Spoil boxes.

        Args:
            boxes: (N, 4) xyxy in pixels, ends included.
            size: (H, W) of the image.
            name: of the sample, from which the draws follow.

        Returns:
            the boxes that are left, and false ones behind them, within the image.
        """
        height, width = size
        draw = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))
        device, boxes = boxes.device, boxes.cpu()
        boxes = boxes[torch.rand(len(boxes), generator=draw) >= self.missed]
        sides = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
        boxes = boxes + self.jitter * sides * torch.randn(len(boxes), 4, generator=draw)
        cut = (torch.rand(len(boxes), generator=draw) < self.truncated).float() * (
            0.2 + 0.2 * torch.rand(len(boxes), generator=draw)
        )
        end = torch.randint(4, (len(boxes),), generator=draw)
        inwards = torch.tensor([1.0, 1, -1, -1])
        boxes = boxes + F.one_hot(end, 4) * inwards * (cut[:, None] * sides)
        count = int(torch.poisson(torch.tensor([self.spurious]), generator=draw))
        corner = torch.rand(count, 2, generator=draw) * torch.tensor([width, height])
        extent = (0.15 + 0.35 * torch.rand(count, 2, generator=draw)) * torch.tensor([width, height])
        boxes = torch.cat([boxes, torch.cat([corner, corner + extent], 1)])
        scores = torch.cat([0.7 + 0.3 * torch.rand(len(boxes) - count, generator=draw),
                            0.5 + 0.2 * torch.rand(count, generator=draw)])  # fmt: skip
        limit = torch.tensor([width - 1, height - 1] * 2)
        boxes = boxes.clamp(min=0).minimum(limit)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return Detections(boxes[whole].to(device), scores[whole].to(device))


class NetworkBoxes(nn.Module):
    """The persons that a Parsing R-CNN detects; it is not trained.

    Args:
        network: finds persons; `init` gives its weights.
        size: side of the network's square input, or its (height, width); multiples of 64 pixels.
        least: score of the detections that are used.

    Raises:
        InputError: the network parses no persons.
    """

    def __init__(self, network: ParsingRCNN, size: int | Sequence[int], least: float = 0.5) -> None:
        super().__init__()
        if not isinstance(network.heads, ParsingHeads):
            raise InputError("the detector parses no persons; take a Parsing R-CNN with persons")
        network.heads.roi_heads.score_thresh = least
        self.network = network.requires_grad_(False)
        self.size = canvas_size(size)
        self.eval()

    def train(self, mode: bool = True) -> NetworkBoxes:
        """Keep the network in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: ImageBatch) -> list[Detections]:
        """Find the persons of a batch's images."""
        images = batch["images"]
        resized = F.interpolate(images, self.size, mode="bilinear", align_corners=False)
        place = Letterbox.stretch((images.shape[-2], images.shape[-1]), self.size)
        heads = self.network.heads
        assert isinstance(heads, ParsingHeads)
        found = heads.detect(self.network.feature(resized), [place] * len(images))
        ends = images.new_tensor([0, 0, 1, 1])
        return [Detections(place.restore_boxes(each["boxes"].float()) - ends, each["scores"].float()) for each in found]


class TorchvisionBoxes(nn.Module):
    """The persons that torchvision's Faster R-CNN of COCO detects; it is not trained.

    Args:
        pretrained: "coco" for torchvision's weights, "none" if a checkpoint brings them.
        least: score of the detections that are used.
        overlap: IoU above which the box of the lower score is dropped.

    Raises:
        InputError: the weights cannot be loaded.
    """

    def __init__(self, pretrained: Literal["coco", "none"] = "coco", least: float = 0.5, overlap: float = 0.3) -> None:
        super().__init__()
        weights = FasterRCNN_ResNet50_FPN_Weights.COCO_V1 if pretrained == "coco" else None
        limits = {"weights_backbone": None, "num_classes": 91, "box_score_thresh": least, "box_nms_thresh": overlap}
        try:
            network = fasterrcnn_resnet50_fpn(weights=weights, **limits)
        except OSError as error:  # what urllib raises without a network, too
            file = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url.rsplit("/", 1)[-1]
            raise missing_weights("torchvision's detector: its weights", error, file, TORCH_HUB, OTHERS) from error
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> TorchvisionBoxes:
        """Keep the network in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: ImageBatch) -> list[Detections]:
        """Find the persons of a batch's images."""
        found = self.network(list(batch["images"]))
        return [
            Detections((each["boxes"] - each["boxes"].new_tensor([0, 0, 1, 1]))[kept], each["scores"][kept])
            for each in found
            for kept in [each["labels"] == PERSON]
        ]


OTHERS = "take another detector: model/detector@model.network.detector=parsing_rcnn, file or true_boxes"


class FileBoxes(nn.Module):
    """The persons of a file of COCO's results, on pictures as they are; augmented ones have their true boxes.

    A row is of the picture that its `file_name` names; without one, of that whose name is its `image_id`, or has its
    digits (2008000003 is 2008_000003, 7 is 0000007).

    Args:
        file: json list of detections with bbox, score, category_id 1 and image_id, in pixels of the pictures.
        training: boxes of training pictures, which augmentation has moved.
        least: score of the detections that are used.
        overlap: IoU above which the box of the lower score is dropped.
    """

    def __init__(self, file: str, training: TrueBoxes, least: float = 0.5, overlap: float = 0.3) -> None:
        super().__init__()
        self.file, self.spoilt, self.least, self.overlap = file, training, least, overlap

    def forward(self, batch: ImageBatch) -> list[Detections]:
        """Look up the persons of a batch's pictures.

        Raises:
            InputError: the file is missing or damaged, or the pictures' names and sizes are not known.
        """
        if self.training:
            found: list[Detections] = self.spoilt(batch)
            return found
        if "annotations" not in batch:
            raise InputError(f"the detections of {self.file} are of labelled pictures; {OTHERS}")
        return [
            self._of(name, place, batch["images"])
            for name, place in zip(batch["sample_ids"], letterboxes(batch), strict=True)
        ]

    def _of(self, name: str, place: Letterbox, like: Tensor) -> Detections:
        rows = self._rows.get(name) or self._rows.get("".join(filter(str.isdigit, name)).lstrip("0"), [])
        boxes = like.new_tensor([box for box, _ in rows]).reshape(-1, 4)
        scores = like.new_tensor([score for _, score in rows])
        kept = nms(boxes, scores, self.overlap)
        corners = place.place_points(boxes[kept].reshape(-1, 2, 2) - 0.5)
        return Detections(corners.flatten(1) + corners.new_tensor([0.5, 0.5, -0.5, -0.5]), scores[kept])

    @cached_property
    def _rows(self) -> dict[str, list[tuple[list[float], float]]]:
        """Boxes xyxy and scores by the picture's name, or by its digits."""
        rows = defaultdict(list)
        for number, row in enumerate(read_detections(Path(self.file)), 1):
            if row.category_id != PERSON or row.score < self.least:
                continue
            if row.bbox is None:
                raise InputError(
                    f"{self.file}: result {number} has no bbox; the Instance CRF needs one for each person"
                )
            x, y, width, height = row.bbox
            name = PurePath(row.file_name).stem if row.file_name else str(row.image_id)
            rows[name].append(([x, y, x + width, y + height], row.score))
        return dict(rows)
