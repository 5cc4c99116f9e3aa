"""Pose2Seg (Zhang et al., CVPR 2019, arXiv:1803.10683): a person's mask from a crop that is aligned by the pose.

| paper        | here               | shape                                          |
|--------------|--------------------|------------------------------------------------|
| F            | features           | (B, C, H/4, W/4), the pyramid's finest level   |
| H            | matrices           | (N, 2, 3) from pixels of the canvas to crops'  |
| Affine-Align | align_poses, sample| (N, C, 64, 64)                                 |
| Skeleton     | skeleton_maps      | (N, 55, 64, 64)                                |
| SegModule    | segment            | (N, 2, 64, 64) logits, background and person   |

Numbers are those of the release. Departures: pixel centres keep their places between grids of different sizes;
what lies outside the canvas or is ignored has no part in the loss, where the release counts it as background.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from partwise.batches import ImageBatch, InstanceMasks, Parsing
from partwise.errors import InputError
from partwise.labels import IGNORE
from partwise.models.task import ParsingTask
from partwise.nn.dense import at_once
from partwise.nn.feature_pyramid import FeaturePyramid
from partwise.nn.layers import enlarge
from partwise.nn.losses import parsing_loss
from partwise.ops.affine_align import (
    COMMON,
    align_poses,
    compose,
    draw_similarities,
    invert,
    make_templates,
    rescaling,
    sample,
    transform,
    with_mirrored,
)
from partwise.ops.instances import boxes_of
from partwise.ops.resize import Letterbox
from partwise.ops.skeleton_maps import skeleton_maps

JOINTS, MAPS = 17, 55  # COCO's keypoints, and maps of a pose
SPREAD = 3 / 64  # standard deviation of a joint's Gaussian, in sides of a crop

#: x and y, in hundredths, of the joints of the templates that `make_templates` finds in 594 rendered people: seen from
#: the front and from either side. Training takes those of its own data instead.
TEMPLATES = (
    ((50, 12), (52, 10), (48, 10), (54, 10), (46, 10), (59, 21), (41, 21), (64, 33), (36, 33), (65, 40), (35, 40),
     (54, 49), (46, 49), (56, 71), (44, 71), (57, 92), (43, 92)),
    ((54, 10), (53, 9), (54, 9), (48, 9), (52, 10), (45, 20), (52, 22), (44, 33), (55, 35), (48, 39), (59, 41),
     (45, 50), (49, 51), (47, 71), (51, 73), (42, 93), (48, 94)),
    ((46, 10), (45, 9), (47, 9), (48, 10), (52, 9), (48, 22), (55, 20), (45, 35), (55, 33), (41, 41), (51, 39),
     (51, 51), (55, 50), (49, 73), (53, 71), (52, 94), (58, 93)),
)  # fmt: skip


class SegModule(nn.Module):
    """Residual blocks at half the crop's size, enlarged, and one more.

    Args:
        in_channels: C of the crops.
        width: channels of the first convolution and of the blocks' 3x3 convolutions; blocks return four times as many.
        depth: blocks at half size.
    """

    def __init__(self, in_channels: int, width: int = 256, depth: int = 10) -> None:
        super().__init__()
        halving = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(halving.weight, nonlinearity="relu")
        self.stem = nn.Sequential(halving, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(_block(width, width), *(Bottleneck(4 * width, width) for _ in range(depth - 1)))
        self.last = _block(4 * width, width // 2)
        self.score = nn.Conv2d(2 * width, 2, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Compute logits (N, 2, s, s) of background and person from crops (N, C, s, s), s even."""
        scores: Tensor = self.score(self.last(enlarge(self.blocks(self.stem(crops)), crops)))
        return scores


def _block(in_channels: int, width: int) -> Bottleneck:
    """A block whose input has another number of channels than its output."""
    shortcut = nn.Sequential(nn.Conv2d(in_channels, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))
    return Bottleneck(in_channels, width, downsample=shortcut)


class Pose2Seg(nn.Module):
    """Pose2Seg: one mask for each pose; masks may overlap.

    In training the poses are the true ones. So they are in evaluation, with scores of 1, unless `pose` finds them.

    Args:
        pyramid: computes one level of features.
        width: channels of the segmentation module.
        depth: residual blocks of the segmentation module, but for the last one.
        crop_size: side of the crops in pixels, even.
        max_instances: persons that a batch is trained on; drawn where there are more.
        pose: finds poses: `detect(images)` returns, for images (B, 3, H, W) in [0, 1], each one's poses (N, 17, 3),
            x, y in pixels and visibility or score, 0 = missing, and scores (N,) in [0, 1]. It is not trained.
    """

    def __init__(
        self,
        pyramid: FeaturePyramid,
        width: int = 256,
        depth: int = 10,
        crop_size: int = 64,
        max_instances: int = 8,
        pose: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.pyramid, self.crop_size, self.max_instances = pyramid, crop_size, max_instances
        self.segment = SegModule(pyramid.width + MAPS, width, depth)
        self.pose: Any = None if pose is None else pose.requires_grad_(False).eval()
        places = torch.tensor(TEMPLATES) / 100
        self.templates: Tensor
        self.fitted: Tensor
        self.register_buffer("templates", torch.cat([places, torch.full_like(places[..., :1], 2.0)], -1))
        self.register_buffer("fitted", torch.tensor(False))

    def train(self, mode: bool = True) -> Pose2Seg:
        """Keep the pose network in evaluation mode."""
        super().train(mode)
        if self.pose is not None:
            self.pose.eval()
        return self

    def fit_templates(self, poses: Tensor, boxes: Tensor) -> None:
        """Take the pose templates from people; checkpoints hold them. With fewer than three, nothing changes.

        Args:
            poses: (N, 17, 3) x, y in pixels and visibility.
            boxes: (N, 4) xyxy of the persons in pixels.
        """
        count = len(self.templates)
        if ((poses[..., 2] > 0).sum(1) >= COMMON).sum() < count:
            return
        self.templates.copy_(make_templates(poses, boxes, count))
        self.fitted.fill_(True)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy of the masks in the crops, which are turned, scaled and moved in training.

        Args:
            batch: images (B, 3, H, W) in [0, 1], with instances and keypoints, of which row n is person n + 1.

        Returns:
            the loss () by name.

        Raises:
            InputError: the data have no persons with keypoints.
        """
        if "instances" not in batch or "keypoints" not in batch:
            raise InputError("Pose2Seg learns from persons with keypoints; take coco_persons, which has them")
        rows, ids, poses = self._draw(batch["instances"], batch["keypoints"])
        images = batch["images"]
        matrices = self._align(poses, images)
        if self.training:
            matrices = compose(draw_similarities(len(poses), self.crop_size).to(matrices), matrices)
        logits = self._logits(self.pyramid(images)[0], rows, poses, matrices, images)
        parts = batch["parts"] if "parts" in batch else torch.zeros_like(batch["instances"])
        target = self._targets(batch["instances"][rows] == ids[:, None, None], parts[rows], matrices)
        return {"mask": parsing_loss(logits, target.masked_fill((ids == 0)[:, None, None], IGNORE))}

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Segment the persons whose poses are given or found; people without a joint are left out.

        Args:
            batch: batch of B images, with keypoints unless the network finds poses.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes: the persons in the poses' order and as parts the foreground (1).

        Raises:
            InputError: there are no poses.
        """
        return self._parse(batch["images"], batch.get("keypoints"), letterboxes)

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video in constant memory, with poses that the network finds.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Returns:
            one parsing per frame at its native size, in order.

        Raises:
            InputError: the network finds no poses.
        """
        return chain.from_iterable(self._parse(images, None, [letterbox] * len(images)) for images in at_once(frames))

    def _draw(self, instances: Tensor, keypoints: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Image rows (N,), ids (N,) and poses (N, 17, 3) of at most `max_instances` persons with joints and pixels.

        Where there is nobody, one person without joints and with id 0, so that all processes do the same.
        """
        people = [
            (torch.full_like(ids, row), ids, keypoints[row][ids - 1])
            for row, (ids, _) in enumerate(boxes_of(instances))
        ]
        rows, ids, poses = (torch.cat(column) for column in zip(*people, strict=True))
        known = (poses[..., 2] > 0).any(1).nonzero()[:, 0]
        chosen = known[torch.randperm(len(known))[: self.max_instances].to(known.device)]
        if not len(chosen):
            nobody = rows.new_zeros(1)
            return nobody, nobody, poses.new_zeros(1, JOINTS, 3)
        return rows[chosen], ids[chosen], poses[chosen]

    def _align(self, poses: Tensor, images: Tensor) -> Tensor:
        canvas = (images.shape[-2], images.shape[-1])
        return align_poses(poses, with_mirrored(self.templates), canvas, self.crop_size).matrices

    def _logits(self, features: Tensor, rows: Tensor, poses: Tensor, matrices: Tensor, images: Tensor) -> Tensor:
        """Logits (N, 2, s, s) of crops."""
        size = (self.crop_size, self.crop_size)
        canvas, grid = ((like.shape[-2], like.shape[-1]) for like in (images, features))
        to_features = rescaling(canvas, grid, matrices)
        crops = sample(features[rows], compose(to_features, invert(matrices)), size)
        joints = torch.cat([transform(matrices, poses[..., :2].to(matrices)), poses[..., 2:].to(matrices)], -1)
        maps = skeleton_maps(joints, size, SPREAD * self.crop_size)
        logits: Tensor = self.segment(torch.cat([crops, maps.to(crops)], 1))
        return logits

    def _targets(self, own: Tensor, parts: Tensor, matrices: Tensor) -> Tensor:
        """Classes (N, s, s) of crops; 255 outside the canvas and where somebody else's pixels are ignored."""
        maps = torch.stack([own, own | (parts != IGNORE)], 1).float()
        person, valid = (sample(maps, invert(matrices), (self.crop_size, self.crop_size)) >= 0.5).unbind(1)
        return person.long().masked_fill(~valid, IGNORE)

    def _parse(
        self, images: Tensor, keypoints: Sequence[Tensor] | None, letterboxes: Sequence[Letterbox]
    ) -> list[Parsing]:
        if self.pose is None and keypoints is None:
            raise InputError(
                "Pose2Seg needs poses: take data with keypoints, or a network that finds them as network.pose"
            )
        if self.pose is not None:
            with torch.no_grad():
                found = self.pose.detect(images)
        else:
            found = [(poses, torch.ones_like(poses[:, 0, 0])) for poses in keypoints or ()]
        features = self.pyramid(images)[0]
        parsings = []
        for row, ((poses, scores), letterbox) in enumerate(zip(found, letterboxes, strict=True)):
            kept = (poses[..., 2] > 0).any(1)
            masks = self._masks(features[row : row + 1], poses[kept], images, letterbox)
            places = letterbox.restore_points(poses[kept, :, :2].float())
            persons = InstanceMasks(
                masks=masks, classes=torch.ones(len(masks), dtype=torch.int64, device=masks.device),
                scores=scores[kept].float(), keypoints=torch.cat([places, poses[kept, :, 2:].float()], -1),
            )  # fmt: skip
            parsings.append(Parsing(parts=masks.any(0).long(), persons=persons))
        return parsings

    def _masks(self, features: Tensor, poses: Tensor, images: Tensor, letterbox: Letterbox) -> Tensor:
        """Masks (N, H, W) bool at native size of the poses of one image, some at a time."""
        if self.pose is not None:  # an estimator knows of no occluded joints, whose maps would be negative
            poses = torch.cat([poses[..., :2], 2.0 * (poses[..., 2:] > 0)], -1)
        masks = [torch.zeros(0, *letterbox.native, dtype=torch.bool, device=features.device)]
        for some in poses.split(self.max_instances):
            if len(some):
                matrices = self._align(some, images)
                rows = torch.zeros(len(some), dtype=torch.int64, device=features.device)
                probs = self._logits(features, rows, some, matrices, images).float().softmax(1)[:, 1:]
                native = compose(matrices, _placing(letterbox, matrices))
                masks.append(sample(probs, native, letterbox.native)[:, 0] > 0.5)
        return torch.cat(masks)


def _placing(letterbox: Letterbox, like: Tensor) -> Tensor:
    """The matrix (2, 3) from pixels of the native image to those of the canvas."""
    corner, right, down = letterbox.place_points(like.new_tensor([[0, 0], [1, 0], [0, 1]]))
    return torch.stack([right - corner, down - corner, corner], 1)


class Pose2SegTask(ParsingTask):
    """The task of Pose2Seg, which takes the pose templates from the training split unless its weights bring them."""

    def on_fit_start(self) -> None:
        """Find the templates of the training split's people."""
        if not self.network.fitted:
            poses, boxes = people_of(self.trainer.datamodule)  # type: ignore[attr-defined]
            self.network.fit_templates(poses, boxes)


def people_of(data: Any, samples: int = 1000) -> tuple[Tensor, Tensor]:
    """Read people of a DataModule's training split.

    Args:
        data: the DataModule.
        samples: about how many pictures are read, evenly from all.

    Returns:
        poses (N, 17, 3) in pixels of the canvas and boxes (N, 4) xyxy of those with pixels.
    """
    dataset = data.dataset("train")
    poses, boxes = [torch.zeros(0, JOINTS, 3)], [torch.zeros(0, 4)]
    for index in range(0, len(dataset), max(1, len(dataset) // samples)):
        picture = dataset[index]
        if "keypoints" in picture:
            ids, found = boxes_of(picture["instances"][None])[0]
            poses.append(picture["keypoints"][ids - 1])
            boxes.append(found)
    return torch.cat(poses), torch.cat(boxes)
