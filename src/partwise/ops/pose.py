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
_CHUNK = 1 << 20  # distances that are held at a time: they fit a core's cache
_SPARE = 3  # poses beyond the k least lower bounds of distances whose distances are computed too


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


class _Shapes(NamedTuple):
    """Normalised poses that have enough joints to be compared."""

    rows: Tensor  # (N,) of the poses that they are
    joints: Tensor  # (N, J, 2) float64, 0 where missing
    known: Tensor  # (N, J) bool
    itself: Tensor  # (N,) index of each among the shapes searched, which is left out; -1 where it is not there

    def some(self, chosen: Tensor | slice) -> _Shapes:
        return _Shapes(*(field[chosen] for field in self))


class _Found(NamedTuple):
    """The nearest of N shapes."""

    indices: Tensor  # (N, k) among the shapes searched
    distances: Tensor  # (N, k) float64
    sure: Tensor  # (N,) bool: none of the others is as near


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
        indices (N, k) int64 and distances (N, k) float64 of squared units of 1/50 torso, nearest first; where distances
        are infinite, indices say nothing.
    """
    theirs = _shapes(library, reference)
    place = torch.full((len(library) + 1,), -1, device=library.device)  # the last stands for -1
    place[theirs.rows] = torch.arange(len(theirs.rows), device=library.device)
    ours = _shapes(poses, reference, None if own is None else place[own])
    indices = torch.zeros(len(poses), k, dtype=torch.int64, device=poses.device)
    distances = torch.full((len(poses), k), torch.inf, dtype=torch.float64, device=poses.device)
    if len(ours.rows) and len(theirs.rows):
        found = _search(ours, theirs, min(k, len(theirs.rows)))
        columns = found.indices.shape[1]
        indices[ours.rows, :columns], distances[ours.rows, :columns] = theirs.rows[found.indices], found.distances
    return indices, distances


def _shapes(poses: Tensor, reference: Reference, itself: Tensor | None = None) -> _Shapes:
    joints, known = normalise(poses, reference)
    rows = (known.sum(1) >= LEAST).nonzero()[:, 0]
    itself = rows.new_full((len(poses),), -1) if itself is None else itself
    return _Shapes(rows, joints[rows], known[rows], itself[rows])


def _search(ours: _Shapes, theirs: _Shapes, k: int) -> _Found:
    """Search in float32 where it is fast and exact enough, and in float64 again where that leaves doubts."""
    if ours.joints.is_cuda or torch.get_float32_matmul_precision() != "highest":
        return _search_in(torch.float64, ours, theirs, k)
    found = _search_in(torch.float32, ours, theirs, k)
    doubted = (~found.sure).nonzero()[:, 0]
    if len(doubted):
        again = _search_in(torch.float64, ours.some(doubted), theirs, k)
        for field, better in zip(found, again, strict=True):
            field[doubted] = better
    return found


def _search_in(dtype: torch.dtype, ours: _Shapes, theirs: _Shapes, k: int) -> _Found:
    """Compare with those alone whose distances have the least lower bounds, which products of matrices give."""
    factors, known = _factors(theirs, dtype, of_library=True).T, theirs.known.to(dtype).T
    count = min(k + _SPARE, len(theirs.rows))
    rows = max(1, _CHUNK // len(theirs.rows))
    found = []
    for start in range(0, len(ours.rows), rows):
        some = ours.some(slice(start, start + rows))
        with torch.autocast(factors.device.type, enabled=False):
            bounds = _factors(some, dtype, of_library=False) @ factors
            common = some.known.to(dtype) @ known  # counts are exact
        # Without enough common joints the divisor is 0.
        bounds.clamp_(min=torch.finfo(dtype).tiny).div_(torch.threshold_(common, LEAST - 0.5, 0.0))
        there = (some.itself >= 0).nonzero()[:, 0]
        bounds[there, some.itself[there]] = torch.inf
        least = bounds.topk(count, largest=False)
        found.append(_rank(some, theirs, least.indices, least.values, k))
    return _Found(*(torch.cat(field) for field in zip(*found, strict=True)))


def _rank(ours: _Shapes, theirs: _Shapes, candidates: Tensor, bounds: Tensor, k: int) -> _Found:
    """Take the k nearest of the candidates (N, C), whose distances have the ascending lower bounds."""
    both = theirs.known[candidates] & ours.known[:, None]
    squared = (theirs.joints[candidates] - ours.joints[:, None]).square().sum(-1)
    distances = ((squared * both).sum(-1) / both.sum(-1)).masked_fill_(bounds.isinf(), torch.inf)
    nearest = distances.topk(k, largest=False)
    beyond = bounds[:, -1] if candidates.shape[1] < len(theirs.rows) else bounds.new_tensor(torch.inf)
    sure = (nearest.values[:, -1] < beyond) | beyond.isinf()
    return _Found(candidates.gather(1, nearest.indices), nearest.values, sure)


def _factors(shapes: _Shapes, dtype: torch.dtype, *, of_library: bool) -> Tensor:
    """(N, 4 J): products of a pose's with a library pose's are lower bounds of sums of squares over common joints.

    sum_j v_j w_j |a_j - b_j|^2 = sum_j (v_j |a_j|^2) w_j + v_j (w_j |b_j|^2) - 2 (v_j a_j) (w_j b_j)

    Rounding errs by at most (4 J + 8) / 2 eps times the sum of the terms' magnitudes, which is below twice the first
    two; these are made smaller by as much.
    """
    joints = shapes.joints.flatten(1)
    mask, squares = shapes.known.double(), shapes.joints.square().sum(-1)
    squares *= 1 - (4 * mask.shape[1] + 8) * torch.finfo(dtype).eps
    columns = [mask, squares, joints] if of_library else [squares, mask, -2 * joints]
    return torch.cat(columns, 1).to(dtype)


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
