"""The Pose Module: associative embedding of COCO's seventeen joints on stacked hourglasses (section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch
from partwise.errors import InputError
from partwise.labels import IGNORE
from partwise.nn.associative import COCO_ORDER, SIGMA, THRESHOLD, Persons, associative_losses, decode, join_flips
from partwise.nn.hourglass import STRIDE, StackedHourglass


class PoseModule(nn.Module):
    """Finds the poses of all persons of an image, without boxes.

    Args:
        stacks: number of hourglasses.
        depth: scales of each below its input's.
        channels: channels of the feature between them.
        increase: channels that are added at each scale.
        stem: channels of the stem's first convolution, and of its second and third.
        sigma: standard deviation of the heatmaps' Gaussians, in pixels of the map.
    """

    def __init__(
        self,
        stacks: int = 4,
        depth: int = 4,
        channels: int = 256,
        increase: int = 128,
        stem: tuple[int, int] = (64, 128),
        sigma: float = SIGMA,
    ) -> None:
        super().__init__()
        self.sigma = sigma
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
        return associative_losses(maps, batch["keypoints"], mask, sigma=self.sigma)

    @torch.no_grad()
    def detect(self, images: Tensor, threshold: float = THRESHOLD) -> list[Persons]:
        """Find the persons of images, by the last hourglass's maps of the images and of the flipped images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 4 * 2 ** depth.
            threshold: joints that score at most this are missing.

        Returns:
            B images' persons: poses (N, 17, 3) x, y in pixels of the images, and score; and scores (N,).
        """
        maps, of_flipped = self.network(torch.cat([images, images.flip(-1)])).maps[:, -1].float().chunk(2)
        return decode(*join_flips(maps, of_flipped), threshold=threshold)

    def features(self, images: Tensor) -> Tensor:
        """Compute the features before and after the first hourglass, by which joints are compared.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], sides divisible by 4 * 2 ** depth.

        Returns:
            (B, 2 * channels, H/4, W/4).
        """
        return torch.cat(self.network.features(images), 1)


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
