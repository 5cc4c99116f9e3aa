"""The Pose Module: associative embedding of COCO's seventeen joints on stacked hourglasses (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch, InstanceMasks, Parsing
from partwise.errors import InputError
from partwise.labels import IGNORE
from partwise.nn.associative import COCO_ORDER, SIGMA, THRESHOLD, Persons, associative_losses, decode, join_flips
from partwise.nn.dense import stream_images
from partwise.nn.hourglass import STRIDE, StackedHourglass
from partwise.ops.resize import Letterbox


class Maps(NamedTuple):
    """What poses are read from, at stride 4.

    Attributes:
        heatmaps: (B, 17, h, w).
        tags: (B, 17, h, w, 2) of images and of the flipped images.
        features: (B, C, h, w) after the first hourglass, by which joints are compared.
    """

    heatmaps: Tensor
    tags: Tensor
    features: Tensor


class PoseModule(nn.Module):
    """Finds the poses of all persons of an image, without boxes.

    Args:
        stacks: number of hourglasses.
        depth: scales of each below its input's.
        channels: channels of the feature between them.
        increase: channels that are added at each scale.
        stem: channels of the stem's first convolution, and of its second and third.
        sigma: standard deviation of the heatmaps' Gaussians, in pixels of the map.
        open_joints: whether the heatmap of a joint that a person lacks learns nothing in the box of the others, as
            suits labels of videos; otherwise the joint is nowhere.
    """

    def __init__(
        self,
        stacks: int = 4,
        depth: int = 4,
        channels: int = 256,
        increase: int = 128,
        stem: tuple[int, int] = (64, 128),
        sigma: float = SIGMA,
        open_joints: bool = False,
    ) -> None:
        super().__init__()
        self.sigma, self.open_joints = sigma, open_joints
        self.network = StackedHourglass(2 * len(COCO_ORDER), stacks, depth, channels, increase, stem)

    def losses(self, batch: ImageBatch, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Compute the losses of a batch: heatmap, push and pull; see `associative_losses`.

        Args:
            batch: images with keypoints.
            mask: (B, 1, H/4, W/4) or (B, 17, H/4, W/4) bool: pixels that the heatmaps learn from; None takes
                `posed_pixels`.

        Returns:
            losses () by name.

        Raises:
            InputError: the batch has no keypoints.
        """
        if "keypoints" not in batch:
            raise InputError("the Pose Module learns from keypoints, which these data lack; name a dataset with poses")
        maps = self.network(batch["images"]).maps
        mask = posed_pixels(batch) if mask is None else mask
        if self.open_joints:
            mask = mask & closed_pixels(batch["keypoints"], (maps.shape[3], maps.shape[4]))
        return associative_losses(maps, batch["keypoints"], mask, sigma=self.sigma)

    def maps(self, images: Tensor) -> Maps:
        """Compute what poses are read from, by the last hourglass's maps of images and of the flipped images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 4 * 2 ** depth.
        """
        output = self.network(torch.cat([images, images.flip(-1)]))
        maps, of_flipped = output.maps[:, -1].float().chunk(2)
        return Maps(*join_flips(maps, of_flipped), output.first[: len(images)].float())

    @torch.no_grad()
    def detect(self, images: Tensor, threshold: float = THRESHOLD) -> list[Persons]:
        """Find the persons of images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 4 * 2 ** depth.
            threshold: joints that score at most this are missing.

        Returns:
            B images' persons: poses (N, 17, 3) x, y in pixels of the images, and score; and scores (N,).
        """
        found = self.maps(images)
        return decode(found.heatmaps, found.tags, threshold=threshold)

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Find the poses of a batch's images; a person's mask is the box of its joints.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        return [_parsing(found, box) for found, box in zip(self.detect(batch["images"]), letterboxes, strict=True)]

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Find the poses of a video frame by frame; see `stream_images`."""
        return stream_images(self, frames, letterbox)


def at_native_size(poses: Tensor, letterbox: Letterbox) -> Tensor:
    """Carry poses (N, 17, 3) from the canvas to the picture; (0, 0, 0) where a joint is missing."""
    return torch.cat([letterbox.restore_points(poses[..., :2]), poses[..., 2:]], -1) * (poses[..., 2:] > 0)


def joint_boxes(poses: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill the boxes around known joints.

    Args:
        poses: (N, 17, 3).
        size: (H, W) of the picture.

    Returns:
        (N, H, W) bool.
    """
    low, high = _corners(poses)
    xs, ys = (torch.arange(side, device=poses.device) for side in (size[1], size[0]))
    columns = (xs >= low[:, :1]) & (xs <= high[:, :1])
    return ((ys >= low[:, 1:]) & (ys <= high[:, 1:]))[:, :, None] & columns[:, None]


def closed_pixels(poses: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Find where the heatmaps of joints learn if missing ones are unknown: outside the boxes of persons without them.

    Args:
        poses: (N, 17, 3) of each image, in pixels of the input.
        size: (h, w) of the maps.

    Returns:
        (B, 17, h, w) bool.
    """
    closed = []
    for persons in poses:
        onto_map = torch.cat([persons[..., :2] / STRIDE, persons[..., 2:]], -1)
        unknown = (persons[..., 2] <= 0)[..., None, None] & joint_boxes(onto_map, size)[:, None]
        closed.append(~unknown.any(0))
    return torch.stack(closed)


def _corners(poses: Tensor) -> tuple[Tensor, Tensor]:
    """The corners (N, 2) of the boxes of known joints, inside out where there is none."""
    missing = poses[..., 2:] <= 0
    return poses[..., :2].masked_fill(missing, torch.inf).amin(1), poses[..., :2].masked_fill(missing, -torch.inf).amax(
        1
    )


def _parsing(found: Persons, letterbox: Letterbox) -> Parsing:
    poses = at_native_size(found.poses, letterbox)
    masks = joint_boxes(poses, letterbox.native)
    classes = torch.ones(len(masks), dtype=torch.int64, device=masks.device)
    persons = InstanceMasks(masks=masks, classes=classes, scores=found.scores, keypoints=poses)
    return Parsing(parts=masks.any(0).long(), persons=persons)


def posed_pixels(batch: ImageBatch) -> Tensor:
    """Find the pixels where all joints are known: outside crowds, padding, and persons without a known joint.

    Args:
        batch: images with keypoints; row n - 1 is person n of `instances`, if there are any.

    Returns:
        (B, 1, H/4, W/4) bool, true where more than half of a pixel's area is.
    """
    kept = torch.ones_like(batch["images"][:, 0])
    if "parts" in batch:
        kept *= batch["parts"] != IGNORE
    if "instances" in batch:
        for picture, ids, joints in zip(kept, batch["instances"], batch["keypoints"], strict=True):
            picture *= F.pad((joints[..., 2] > 0).any(1), (1, 0), value=True)[ids]
    return F.avg_pool2d(kept[:, None], STRIDE) > 0.5
