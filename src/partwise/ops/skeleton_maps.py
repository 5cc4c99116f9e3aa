"""Draw poses as maps that a network takes in beside a picture (Zhang et al., Pose2Seg, CVPR 2019, section 3.3).

A map of a joint is a Gaussian about it; the two maps of a limb are its unit vector along it, a part affinity field
(Cao et al., CVPR 2017, Eqs. 8 and 9). Pixel centres are integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from partwise.labels import LIMBS

FAINTEST = 0.01  # smaller values of a Gaussian are 0
OCCLUDED = 1  # visibility of joints that something hides


def joint_maps(poses: Tensor, size: tuple[int, int], sigma: float = 3.0) -> Tensor:
    """Draw each joint as a Gaussian with peak 1, or -1 where the joint is occluded.

    The sign tells joints in sight from those that the picture does not show, as in the release.

    Args:
        poses: (N, K, 3) x, y in pixels of the maps and visibility: 0 missing, 1 occluded, any other in sight.
        size: (H, W) of the maps.
        sigma: standard deviation in pixels.

    Returns:
        (N, K, H, W) float32 in [-1, 1]; the maps of missing joints are 0.
    """
    x, y, visibility = poses.float().unbind(-1)
    xs, ys = _pixels(size, poses.device)
    # A Gaussian is the product of one along the columns and one along the rows.
    across, down = ((-(line - place[..., None]).square() / (2 * sigma**2)).exp() for line, place in ((xs, x), (ys, y)))
    maps = down[..., :, None] * across[..., None, :]
    sign = torch.where(visibility == OCCLUDED, -1.0, (visibility > 0).float())
    return maps * (maps >= FAINTEST) * sign[..., None, None]


def affinity_fields(
    poses: Tensor, size: tuple[int, int], width: float = 1.0, limbs: Sequence[tuple[int, int]] = LIMBS
) -> Tensor:
    """Draw each limb as its unit vector, at the pixels nearer than `width` to it and within its box grown by as much.

    Args:
        poses: (N, K, 3) x, y in pixels of the maps, and visibility, 0 = missing.
        size: (H, W) of the maps.
        width: largest distance from the limb's line, exclusive, in pixels.
        limbs: rows of the joints at the start and at the end of each of L limbs.

    Returns:
        (N, 2 L, H, W) float32 in [-1, 1], x then y of each limb; 0 for limbs without length or with a missing end.
    """
    start, end = (poses[:, [limb[e] for limb in limbs]].float() for e in (0, 1))
    along = (end - start)[..., :2]
    length = along.norm(dim=-1, keepdim=True)
    unit = along / torch.where(length > 0, length, 1)
    known = (start[..., 2] > 0) & (end[..., 2] > 0) & (length[..., 0] > 0)
    (xs, ys), (x, y), (u, v) = _pixels(size, poses.device), start[..., :2].unbind(-1), unit.unbind(-1)
    # |cross product| with the unit vector: the distance from the line. Rows and columns stay apart until their sum.
    across, down = (xs - x[..., None]) * v[..., None], (ys - y[..., None]) * u[..., None]
    near = (across[..., None, :] - down[..., :, None]).abs() < width
    low, high = torch.minimum(start, end) - width, torch.maximum(start, end) + width
    columns, rows = ((line >= low[..., i, None]) & (line <= high[..., i, None]) for i, line in enumerate((xs, ys)))
    drawn = near & rows[..., :, None] & columns[..., None, :] & known[..., None, None]
    fields: Tensor = unit[..., None, None] * drawn[:, :, None]
    return fields.flatten(1, 2)


def skeleton_maps(poses: Tensor, size: tuple[int, int], sigma: float = 3.0, width: float = 1.0) -> Tensor:
    """Draw COCO's 17 joints and 19 limbs of poses, each pose by itself.

    Args:
        poses: (N, 17, 3) x, y in pixels of the maps and visibility 0, 1 or 2.
        size: (H, W) of the maps; the release has 64 x 64.
        sigma: standard deviation of the joints in pixels.
        width: largest distance of a limb's pixels from its line, in pixels.

    Returns:
        (N, 55, H, W) float32 in [-1, 1]: 17 of `joint_maps`, then 38 of `affinity_fields`.
    """
    return torch.cat([joint_maps(poses, size, sigma), affinity_fields(poses, size, width)], 1)


def _pixels(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The x (W,) of the columns and the y (H,) of the rows."""
    height, width = size
    return torch.arange(width, device=device).float(), torch.arange(height, device=device).float()
