"""The Pose Module (section 3.2): associative embedding, which finds the poses of all persons of a picture at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch, InstanceMasks, Parsing
from partwise.errors import InputError
from partwise.nn.associative import TAG_WEIGHT, group, heatmap_loss, tag_losses, to_image, to_maps
from partwise.nn.dense import at_once
from partwise.nn.hourglass import StackedHourglass
from partwise.ops.flip import COCO_KEYPOINT_PAIRS
from partwise.ops.resize import Letterbox
from partwise.scores.coco import KEYPOINTS


class PoseModule(nn.Module):
    """Finds poses of COCO's 17 joints by heatmaps and tags.

    Args:
        stacks: number of hourglasses.
        depth: scales of each.
        width: channels at stride 4.
        increase: further channels at every scale below.
        unknown: whether joints that a person lacks are unknown, as in labels of videos; otherwise they are nowhere.
    """

    def __init__(
        self, stacks: int = 4, depth: int = 4, width: int = 256, increase: int = 128, unknown: bool = False
    ) -> None:
        super().__init__()
        self.net = StackedHourglass(2 * KEYPOINTS, stacks, depth, width, increase)
        self.unknown = unknown
        order = torch.arange(KEYPOINTS)
        for left, right in COCO_KEYPOINT_PAIRS:
            order[[left, right]] = order[[right, left]]
        self.mirrored: Tensor
        self.register_buffer("mirrored", order, persistent=False)

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the losses () of heatmaps and tags, sums over the stacks.

        Raises:
            InputError: the pictures have no keypoints.
        """
        if "keypoints" not in batch:
            raise InputError("the Pose Module learns from keypoints; these data have none")
        poses = [torch.cat([to_maps(p[..., :2]), p[..., 2:]], -1) for p in batch["keypoints"]]
        heat, pull, push = (batch["images"].new_zeros(()) for _ in range(3))
        for maps in self.net(self._padded(batch["images"])).maps:
            heatmaps, tags = maps.float().split(KEYPOINTS, 1)
            heat = heat + heatmap_loss(heatmaps, poses, self.unknown)
            near, far = tag_losses(tags, poses)
            pull, push = pull + near, push + far
        return {"heatmaps": heat, "pull": TAG_WEIGHT * pull, "push": TAG_WEIGHT * push}

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what poses are read from, as the mean of images and their mirror images.

        Args:
            images: (B, 3, H, W) in [0, 1].

        Returns:
            heatmaps (B, 17, h, w), tags (B, 17, h, w, 2), of the images and their mirror images, and features
            (B, C, h, w) of the first hourglass, all at stride 4.
        """
        output = self.net(self._padded(images))
        mirrored = self.net(self._padded(images.flip(-1))).maps[-1]
        height, width = -(-images.shape[-2] // 4), -(-images.shape[-1] // 4)
        heatmaps, tags = output.maps[-1][..., :height, :width].float().split(KEYPOINTS, 1)
        others, other_tags = mirrored[..., :height, :width].float().flip(-1).split(KEYPOINTS, 1)
        both = torch.stack([tags, other_tags[:, self.mirrored]], -1)
        return (heatmaps + others[:, self.mirrored]) / 2, both, output.feature[..., :height, :width].float()

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Find the poses in images (B, 3, H, W) in [0, 1]: (N, 17, 3) x, y in pixels, score; and scores (N,), each."""
        heatmaps, tags, _ = self.maps(images)
        return self.read(heatmaps, tags)

    def read(self, heatmaps: Tensor, tags: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Read poses in pixels of the images from `maps`.

        Args:
            heatmaps: (B, 17, h, w).
            tags: (B, 17, h, w, 2).

        Returns:
            poses (N, 17, 3), zeros where a joint is missing, and their scores (N,), of each image.
        """
        found = []
        for heat, tag in zip(heatmaps, tags, strict=True):
            poses, scores = group(heat, tag)
            seen = poses[..., 2:] > 0
            poses = torch.cat([to_image(poses[..., :2]), poses[..., 2:].clamp(max=1)], -1) * seen
            found.append((poses, scores.clamp(max=1)))
        return found

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Find the poses of a batch's images; the mask of a person is the box of its joints.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        return [_parsing(*each, box) for each, box in zip(self.detect(batch["images"]), letterboxes, strict=True)]

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Find the poses of a video, some frames together, each independent of the others.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Yields:
            one parsing per frame at its native size, in order.
        """
        for images in at_once(frames):
            yield from self.parse(ImageBatch(images=images, index=[], sample_ids=[]), [letterbox] * len(images))

    def _padded(self, images: Tensor) -> Tensor:
        """Pad images at the right and below to sides that the hourglasses can halve; scale them to [-1, 1]."""
        height, width = images.shape[-2:]
        more = [-side % self.net.multiple for side in (width, height)]
        return F.pad(2 * images - 1, (0, more[0], 0, more[1]))


def _parsing(poses: Tensor, scores: Tensor, letterbox: Letterbox) -> Parsing:
    places = torch.cat([letterbox.restore_points(poses[..., :2]), poses[..., 2:]], -1) * (poses[..., 2:] > 0)
    masks = joint_boxes(places, letterbox.native)
    return Parsing(
        parts=masks.any(0).long(),
        persons=InstanceMasks(
            masks=masks,
            classes=torch.ones(len(masks), dtype=torch.int64, device=masks.device),
            scores=scores,
            keypoints=places,
        ),
    )


def joint_boxes(poses: Tensor, size: tuple[int, int]) -> Tensor:
    """Fill the boxes around known joints.

    Args:
        poses: (N, 17, 3).
        size: (H, W) of the picture.

    Returns:
        (N, H, W) bool.
    """
    known = poses[..., 2] > 0
    low = poses[..., :2].masked_fill(~known[..., None], torch.inf).amin(1)
    high = poses[..., :2].masked_fill(~known[..., None], -torch.inf).amax(1)
    xs, ys = (torch.arange(side, device=poses.device) for side in (size[1], size[0]))
    columns = (xs >= low[:, :1]) & (xs <= high[:, :1])
    return ((ys >= low[:, 1:]) & (ys <= high[:, 1:]))[:, :, None] & columns[:, None]
