"""Compare poses and carry limbs from one to another, for pose-guided knowledge transfer (Fang et al., CVPR 2018).

Poses are (K, 3): x, y in pixels and visibility, 0 = missing. Unless a reference says otherwise they are MPII's sixteen
joints, of which the thorax is not used, and the pelvis is always the midpoint of the hips.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from partwise.scores.coco import SIGMAS


class Reference(NamedTuple):
    """Joints by which poses are normalised, as rows of a pose."""

    origin: tuple[int, ...]  # their midpoint becomes the origin
    end: tuple[int, ...]  # their midpoint ends the torso, which begins at the origin
    at_origin: tuple[int, ...] = ()  # taken to be the origin, whatever is annotated
    unused: tuple[int, ...] = ()  # left out of distances


MPII = Reference(origin=(2, 3), end=(8,), at_origin=(6,), unused=(7,))  # hips, neck, pelvis, thorax
TORSO = 50.0  # length from pelvis to neck of a normalised pose
LEAST = 8  # joints that two poses must have in common
_CHUNK = 1 << 19  # distances that are held at a time: they fit a core's cache


def normalise(poses: Tensor, reference: Reference = MPII) -> tuple[Tensor, Tensor]:
    """Move the origin of each pose to 0 and scale its torso to one length (section 3.3).

    Args:
        poses: (N, K, 3).
        reference: joints that are the origin and the torso.

    Returns:
        joints (N, J, 2) float64 without the unused ones, 0 where missing; and which of them are known (N, J) bool, none
        where a joint of the reference or the length of the torso is missing.
    """
    poses = poses.double()
    known = poses[..., 2] > 0
    origin = poses[:, reference.origin, :2].mean(1)
    torso = (poses[:, reference.end, :2].mean(1) - origin).norm(dim=-1)
    usable = known[:, reference.origin + reference.end].all(1) & (torso > 1e-6 * origin.norm(dim=-1))
    joints = poses[..., :2].clone()
    for joint in reference.at_origin:
        joints[:, joint], known[:, joint] = origin, True
    known = known & usable[:, None]
    joints = TORSO * (joints - origin[:, None]) / torso.where(usable, 1)[:, None, None]
    kept = [joint for joint in range(poses.shape[1]) if joint not in reference.unused]
    return joints[:, kept] * known[:, kept, None], known[:, kept]


def nearest_poses(
    poses: Tensor, library: Tensor, k: int, own: Tensor | None = None, reference: Reference = MPII
) -> tuple[Tensor, Tensor]:
    """Find the nearest poses of a library, by the mean squared distance of the normalised joints that both have.

    Two poses are infinitely far apart where one lacks a joint of the reference, or fewer than 8 joints are common.

    Args:
        poses: (N, K, 3).
        library: (M, K, 3).
        k: how many to find, at most M.
        own: (N,) index of each pose itself in the library, which is left out; -1 where it is not there.
        reference: joints by which poses are normalised.

    Returns:
        indices (N, k) int64 and distances (N, k) float64 of squared units of 1/50 torso, nearest first.
    """
    joints, known = normalise(library, reference)
    b = _factors(joints, known, of_library=True)
    mask = known.float()  # counts of joints are exact in it
    found = []
    rows = max(1, _CHUNK // max(1, len(library)))
    for start in range(0, len(poses), rows):
        joints, known = normalise(poses[start : start + rows], reference)
        common = known.float() @ mask.T
        squared = (_factors(joints, known, of_library=False) @ b.T).clamp_(min=0)
        distances = (squared / common).masked_fill_(common < LEAST, torch.inf)
        if own is not None:
            itself = own[start : start + rows, None] == torch.arange(len(library), device=library.device)
            distances.masked_fill_(itself, torch.inf)
        found.append(distances.topk(k, largest=False))
    if not found:
        return poses.new_zeros((0, k), dtype=torch.int64), poses.new_zeros((0, k), dtype=torch.float64)
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _factors(joints: Tensor, known: Tensor, *, of_library: bool) -> Tensor:
    """(N, 4 J): products of a pose's with a library pose's are sums of squared distances of common joints.

    sum_j v_j w_j |a_j - b_j|^2 = sum_j (v_j |a_j|^2) w_j + v_j (w_j |b_j|^2) - 2 (v_j a_j) (w_j b_j)
    """
    mask, squares = known.double(), joints.square().sum(-1)
    if of_library:
        return torch.cat([mask, squares, joints.flatten(1)], 1)
    return torch.cat([squares, mask, -2 * joints.flatten(1)], 1)


def keypoint_similarity(poses: Tensor, others: Tensor, least: float = 0.0) -> Tensor:
    """Compute the object keypoint similarity of predicted poses, COCO's but for the area.

    It is the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the joints that both have. The area is that of the box
    around all joints of the other pose, since predictions have no other.

    Args:
        poses: (N, 17, 3) of COCO's keypoints.
        others: (M, 17, 3).
        least: joints with a visibility or score below it count as missing; 0 or less always does.

    Returns:
        (N, M) in [0, 1]; 0 without a common joint.
    """
    known, theirs = ((x[..., 2] >= least) & (x[..., 2] > 0) for x in (poses, others))
    places, targets = poses[..., :2].double(), others[..., :2].double()
    low = targets.masked_fill(~theirs[..., None], torch.inf).amin(1)
    high = targets.masked_fill(~theirs[..., None], -torch.inf).amax(1)
    area = (high - low).clamp(min=0).prod(1).clamp(min=1)
    squared = (places[:, None] - targets[None]).square().sum(-1)
    spread = 2 * area[:, None] * (2 * places.new_tensor(SIGMAS)).square()
    common = known[:, None] & theirs[None]
    return ((-squared / spread).exp() * common).sum(-1) / common.sum(-1).clamp(min=1)


def limb_similarity(source_a: Tensor, source_b: Tensor, target_a: Tensor, target_b: Tensor) -> Tensor:
    """Compute the similarities that carry source limbs onto target limbs (section 3.3; W3 in complex numbers).

    z = (t_b - t_a) / (s_b - s_a) turns and scales about the midpoints: T(x) = z (x - mid_s) + mid_t.

    Args:
        source_a: (N, 2) x, y of the source limb's one end.
        source_b: (N, 2) of its other end.
        target_a: (N, 2) of the target limb's one end.
        target_b: (N, 2) of its other end.

    Returns:
        (N, 2, 3) matrices from source to target pixels; those of source limbs without length are 0.
    """
    source, target = source_b - source_a, target_b - target_a
    length = source.square().sum(-1)
    has_length = length > 0
    length = torch.where(has_length, length, torch.ones_like(length))
    re = (target * source).sum(-1) / length
    im = (target[:, 1] * source[:, 0] - target[:, 0] * source[:, 1]) / length
    turn = torch.stack([re, -im, im, re], -1).view(-1, 2, 2)
    move = (target_a + target_b) / 2 - (turn @ ((source_a + source_b) / 2)[..., None])[..., 0]
    return torch.cat([turn, move[..., None]], -1) * has_length[:, None, None]


#: Rows of COCO's seventeen keypoints that are MPII's, by MPII's row.
_OF_COCO = {0: 16, 1: 14, 2: 12, 3: 11, 4: 13, 5: 15, 10: 10, 11: 8, 12: 6, 13: 5, 14: 7, 15: 9}
_FACE, _SHOULDERS, _HIPS = (0, 1, 2, 3, 4), (5, 6), (11, 12)
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

    def put(row: int, places: Tensor, known: Tensor) -> None:
        poses[:, row] = torch.cat([places, torch.full_like(places[:, :1], 2.0)], 1) * known[:, None]

    for row, source in _OF_COCO.items():
        put(row, points[:, source], seen[:, source])
    neck = points[:, _SHOULDERS].mean(1)
    shoulders = seen[:, _SHOULDERS].all(1)
    put(6, points[:, _HIPS].mean(1), seen[:, _HIPS].all(1))
    put(7, neck, shoulders)
    put(8, neck, shoulders)
    count = seen[:, _FACE].sum(1)
    face = (points[:, _FACE] * seen[:, _FACE, None]).sum(1) / count.clamp(min=1)[:, None]
    put(9, neck + CROWN * (face - neck), shoulders & (count > 0))
    return poses
