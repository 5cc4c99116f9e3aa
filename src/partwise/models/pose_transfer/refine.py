"""The refinement network (Fang et al., CVPR 2018, sections 3.5 and 3.6): from a picture and a prior to parts.

| paper   | here      | shape                                           |
|---------|-----------|-------------------------------------------------|
| I_t     | images    | (B, 3, H, W) in [0, 1], a person's crop         |
| P_t     | prior     | (B, C, H, W) in [0, 1], a map a class           |
| S-hat_t | maps      | (B, C, H, W) in [0, 1]                          |
| S_m     | parts     | (B, H, W), 0 background, c of map c - 1         |
| n, k    | n, k      | neighbours found, and those that are averaged   |

The authors' release takes the prior as a picture of colours and predicts one grey map; this is the paper's form, but
the output starts from the prior: the U-Net's logits are added to the prior's. From zero the L1 distance drives all maps
to background, which most pixels are, and a sigmoid that is far on one side does not come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from partwise.labels import IGNORE
from partwise.models.pose_transfer.library import Library, draw
from partwise.models.pose_transfer.prior import part_prior, skeleton_map
from partwise.nn.unet import UNet
from partwise.ops.resize import canvas_size

Kind = Literal["parts", "skeleton"]

CERTAIN = 0.01  # what a prior of 0 counts as in the logits; one less this for 1
WEIGHT = 100.0  # of the L1 distance, as in pix2pix


@dataclass(frozen=True)
class PriorMaker:
    """Makes priors of poses.

    Attributes:
        library: persons with parts.
        kind: "parts", the morphed parts of similar persons; or "skeleton", the pose's limbs as sticks (section 4.3).
        k: neighbours that are averaged.
        n: neighbours of which training draws k for every sample anew.
    """

    library: Library
    kind: Kind = "parts"
    k: int = 3
    n: int = 5

    def find(
        self,
        poses: Tensor,
        own: Tensor | None = None,
        training: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Find the persons whose parts are averaged.

        Args:
            poses: (B, K, 3).
            own: (B,) index of each person itself in the library, which is left out; -1 where it is not there.
            training: whether k of n neighbours are drawn; otherwise the nearest k are taken.
            generator: source of the draw; None takes torch's own.

        Returns:
            (B, k) indices, -1 where there is nobody; and (B, k) distances.
        """
        neighbours, distances = self.library.neighbours(poses, self.n if training else self.k, own)
        if not training:
            return neighbours, distances
        columns = draw(neighbours, self.k, generator)
        return neighbours.gather(1, columns), distances.gather(1, columns)

    def make(self, neighbours: Tensor, poses: Tensor, sizes: Tensor, size: tuple[int, int]) -> Tensor:
        """Make the priors P_t of persons.

        Args:
            neighbours: (B, k) indices in the library.
            poses: (B, K, 3) in pixels of their crops.
            sizes: (B, 2) heights and widths of the crops.
            size: (height, width) of the maps.

        Returns:
            (B, C, *size) in [0, 1].
        """
        if self.kind == "skeleton":
            return skeleton_map(self.library.skeleton, poses, sizes, size)
        return part_prior(self.library, neighbours, poses, sizes, size)


class RefinementNetwork(nn.Module):
    """f_r: a U-Net from a picture and a prior to maps of the same classes.

    Args:
        classes: number of maps, without background.
        depth: scales of the U-Net; the crops' sides are multiples of 2 ** depth.
        width: channels of its first layer.
        crop_size: side of the crops that it is trained on, or their (height, width).
    """

    def __init__(self, classes: int = 6, depth: int = 8, width: int = 64, crop_size: int | Sequence[int] = 256) -> None:
        super().__init__()
        self.crop_size = canvas_size(crop_size)
        self.net = UNet(3 + classes, classes, depth, width)

    def forward(self, images: Tensor, prior: Tensor) -> Tensor:
        """Estimate the maps (Eq. 5).

        Args:
            images: (B, 3, H, W) in [0, 1].
            prior: (B, C, H, W) in [0, 1].

        Returns:
            (B, C, H, W) in [0, 1].
        """
        change: Tensor = self.net(2 * torch.cat([images, prior], 1) - 1)  # the U-Net's inputs are in [-1, 1]
        return (torch.logit(prior, CERTAIN) + change).sigmoid()


def refinement_loss(maps: Tensor, parts: Tensor) -> Tensor:
    """Compute the weighted mean L1 distance to the true masks (Eq. 6).

    Args:
        maps: (B, C, H, W) in [0, 1].
        parts: (B, H, W) integer classes, 0 = background, 255 = ignored.

    Returns:
        (); 0 without a labelled pixel.
    """
    classes = torch.arange(1, maps.shape[1] + 1, device=maps.device).view(1, -1, 1, 1)
    labelled = (parts != IGNORE)[:, None]
    distance = (maps - (parts[:, None] == classes).to(maps.dtype)).abs() * labelled
    return WEIGHT * distance.sum() / (labelled.sum() * maps.shape[1]).clamp(min=1)


def decode(maps: Tensor) -> Tensor:
    """Take the class of the largest map where it is above one half, and background elsewhere.

    The L1 distance to a mask is least at the median, so that one half is its threshold.

    Args:
        maps: (B, C, H, W) in [0, 1].

    Returns:
        (B, H, W) int64.
    """
    score, row = maps.max(1)
    return (row + 1) * (score > 0.5)
