"""Where the Instance CRF's detections come from: the true persons, spoilt as stated, or a network."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.errors import InputError
from partwise.nn.parsing_rcnn import ParsingHeads, ParsingRCNN
from partwise.ops.instances import boxes_of
from partwise.ops.resize import Letterbox, canvas_size


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
