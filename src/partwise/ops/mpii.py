"""MPII's sixteen joints: from COCO's keypoints, and with the head of Pascal-Person-Part's poses."""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows of COCO's seventeen keypoints that are MPII's, by MPII's row.
_OF_COCO = {0: 16, 1: 14, 2: 12, 3: 11, 4: 13, 5: 15, 10: 10, 11: 8, 12: 6, 13: 5, 14: 7, 15: 9}
_FACE, _SHOULDERS, _HIPS = (0, 1, 2, 3, 4), (5, 6), (11, 12)
_MPII_SHOULDERS, _NECK, _HEAD_TOP = (12, 13), 8, 9
FOREHEAD = 5 / 6  # of the way from the shoulders' midpoint to the top of the head
CROWN = 1.6  # times as far from the shoulders' midpoint as the middle of the face is the top of the head


def mpii_of_coco(keypoints: Tensor, least: float = 0.0) -> Tensor:
    """Take MPII's sixteen joints from COCO's seventeen.

    Pelvis, thorax and neck are midpoints of hips and shoulders. The top of the head, which COCO does not have, lies
    beyond the middle of the seen points of the face, as seen from the neck.

    Args:
        keypoints: (N, 17, 3) x, y in pixels, and visibility or an estimator's score.
        least: points with a visibility or score up to this count as missing.

    Returns:
        (N, 16, 3); visibility 2, or 0 with x = y = 0 where a joint is missing.
    """
    points, seen = keypoints[..., :2], keypoints[..., 2] > least
    poses = points.new_zeros(len(keypoints), 16, 3)

    for row, source in _OF_COCO.items():
        poses[:, row] = _joint(points[:, source], seen[:, source])
    neck = points[:, _SHOULDERS].mean(1)
    shoulders = seen[:, _SHOULDERS].all(1)
    poses[:, 6] = _joint(points[:, _HIPS].mean(1), seen[:, _HIPS].all(1))
    poses[:, 7] = poses[:, _NECK] = _joint(neck, shoulders)
    count = seen[:, _FACE].sum(1)
    face = (points[:, _FACE] * seen[:, _FACE, None]).sum(1) / count.clamp(min=1)[:, None]
    poses[:, _HEAD_TOP] = _joint(neck + CROWN * (face - neck), shoulders & (count > 0))
    return poses


def pascal_heads(poses: Tensor) -> Tensor:
    """Give MPII's poses the necks and heads of Pascal-Person-Part's, whose limbs they are compared with.

    MPII's head runs from the upper neck to the top, that of Xia et al. (CVPR 2017) from the middle of the shoulders to
    the forehead. Without this the head that is carried over lies a quarter of its length too high.

    Args:
        poses: (N, 16, 3) x, y in pixels and visibility, in MPII's order, with the top of the head in row 9.

    Returns:
        (N, 16, 3): row 8 is the middle of the shoulders and row 9 the forehead; 0 where a joint behind them is missing.
    """
    changed = poses.clone()
    neck, top = poses[:, _MPII_SHOULDERS, :2].mean(1), poses[:, _HEAD_TOP, :2]
    known = (poses[:, _MPII_SHOULDERS, 2] > 0).all(1)
    changed[:, _NECK] = _joint(neck, known)
    changed[:, _HEAD_TOP] = _joint(neck + FOREHEAD * (top - neck), known & (poses[:, _HEAD_TOP, 2] > 0))
    return changed


def _joint(places: Tensor, known: Tensor) -> Tensor:
    """Joints (N, 3) at x, y with visibility 2; zeros where they are not known."""
    return torch.cat([places, torch.full_like(places[:, :1], 2.0)], 1) * known[:, None]
