"""Affine-Align (Zhang et al., Pose2Seg, CVPR 2019, section 3.2): crop people by their poses instead of by boxes.

Each pose is laid onto the template that it resembles most, by a similarity: turned, scaled and moved. Matrices (2, 3)
carry points x, y, 1; pixel centres are integers. Templates are poses in the unit square, whose corners are (0, 0) and
(1, 1), with visibility 2, or 0 where they lack a joint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.ops.flip import COCO_KEYPOINT_PAIRS

LEAST = 3  # joints that a pose and a template must have in common: two leave turns and scales to chance
COMMON = 8  # joints that a pose must have to count for the templates, as in the release
STARTS, ROUNDS = 8, 100  # of k-means: starts, of which the best result counts, and iterations at most
OFTEN = 0.4  # mean visibility from which a template has a joint, as in the release


class Alignment(NamedTuple):
    """How poses lie in their crops.

    Attributes:
        matrices: (N, 2, 3) float32 from pixels of the canvas to pixels of the crop.
        scores: (N,) float32 in 0..1, likeness to the template; 0 where there is none.
        templates: (N,) int64 row of the template, -1 where the whole canvas is the crop.
    """

    matrices: Tensor
    scores: Tensor
    templates: Tensor


def fit_similarity(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Compute the similarities with the least squared distance from moved source points to target points.

    In complex numbers z = sum w conj(s) t / sum w |s|^2 of points less their weighted means; T(x) = z x + move.

    Args:
        source: (..., K, 2).
        target: (..., K, 2).
        weights: (..., K), 0 for points that do not count.

    Returns:
        (..., 2, 3); 0 turn and scale where the source points that count lie in one place.
    """
    share = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-12))[..., None]
    mean_s, mean_t = (share * source).sum(-2), (share * target).sum(-2)
    s, t = source - mean_s[..., None, :], target - mean_t[..., None, :]
    spread = (share * s.square()).sum((-2, -1))
    has_spread = spread > 1e-12
    spread = torch.where(has_spread, spread, 1)
    re = (share * s * t).sum((-2, -1)) * has_spread / spread
    im = (share[..., 0] * (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0])).sum(-1) * has_spread / spread
    turn = torch.stack([re, -im, im, re], -1).unflatten(-1, (2, 2))
    return torch.cat([turn, (mean_t - _times(turn, mean_s))[..., None]], -1)


def _times(turn: Tensor, vectors: Tensor) -> Tensor:
    """Multiply matrices (..., 2, 2) by vectors (..., 2), in their own type: products of matrices obey autocast."""
    return (turn * vectors[..., None, :]).sum(-1)


def with_mirrored(templates: Tensor) -> Tensor:
    """Add the mirror images (2 T, K, 3) of templates (T, K, 3): the same people from behind, which no similarity gives.

    Left and right joints keep their names.
    """
    return torch.cat([templates, _mirror(templates)])


def _mirror(poses: Tensor) -> Tensor:
    """Mirror poses (N, K, 3) of the unit square."""
    return torch.cat([1 - poses[..., :1], poses[..., 1:]], -1)


def align_poses(poses: Tensor, templates: Tensor, canvas: tuple[int, int], size: int) -> Alignment:
    """Lay each pose onto the template of the highest score.

    A score is the mean of exp(-d^2 / 2) over the common joints, d their distances from the template's in units of the
    crop, times the ratio of common joints to those that either has. A template counts if at least three joints are
    common, it has all joints of the pose, and the pose becomes larger than by fitting the whole canvas into the crop.
    Where none counts the crop is the whole canvas.

    Args:
        poses: (N, K, 3) x, y in pixels of the canvas, and visibility, 0 = missing.
        templates: (T, K, 3).
        canvas: (H, W) in pixels.
        size: side of the crop in pixels.

    Returns:
        the alignment of the N poses.
    """
    joints, places = poses[:, None, :, :2].double(), templates[None, :, :, :2].double()
    has, wanted = poses[:, None, :, 2] > 0, templates[None, :, :, 2] > 0
    common = has & wanted
    units = fit_similarity(joints, places.expand(len(poses), -1, -1, -1), common.double())
    error = (transform(units, joints) - places).square().sum(-1) / 2
    count = common.sum(-1)
    scores = ((-error).exp() * common).sum(-1) / (has | wanted).sum(-1).clamp(min=1)  # the mean's count cancels
    scale = size * units[..., 0, :2].norm(dim=-1)
    whole = units.new_tensor(_whole(canvas, size))
    fits = (count >= LEAST) & (wanted | ~has).all(-1) & (scale > whole[0, 0])
    scores = scores.masked_fill(~fits, 0)
    # An empty template that never fits stands for the whole canvas.
    scores = torch.cat([scores, scores.new_zeros(len(poses), 1)], 1)
    best, row = scores.max(1)
    half = units.new_tensor([[0.0, 0, 0.5], [0, 0, 0.5]])
    matrices = torch.cat([size * units - half, whole.expand(len(poses), 1, -1, -1)], 1)
    row = row.where(best > 0, len(templates))
    chosen = matrices[torch.arange(len(poses), device=poses.device), row]
    return Alignment(chosen.float(), best.float(), row.where(best > 0, -1))


def _whole(canvas: tuple[int, int], size: int) -> list[list[float]]:
    """The matrix that fits the canvas into a crop, centred."""
    height, width = canvas
    scale = size / max(height, width)
    return [[scale, 0, (size - scale * (width - 1) - 1) / 2], [0, scale, (size - scale * (height - 1) - 1) / 2]]


def transform(matrices: Tensor, points: Tensor) -> Tensor:
    """Move points.

    Args:
        matrices: (..., 2, 3).
        points: (..., K, 2) x, y.

    Returns:
        (..., K, 2).
    """
    x, y = points.unbind(-1)
    rows = [
        a[..., None] * x + b[..., None] * y + c[..., None] for a, b, c in (r.unbind(-1) for r in matrices.unbind(-2))
    ]
    return torch.stack(rows, -1)


def compose(*matrices: Tensor) -> Tensor:
    """Multiply matrices (..., 2, 3) as if they had a third row 0, 0, 1; the last one moves points first."""
    product = matrices[0]
    for matrix in matrices[1:]:
        columns = transform(product, matrix.mT)  # as if each were a point; the first two are directions
        product = torch.cat([columns[..., :2, :] - product[..., None, :, 2], columns[..., 2:, :]], -2).mT
    return product


def invert(matrices: Tensor) -> Tensor:
    """Invert matrices (..., 2, 3)."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrices[..., :2].unbind(-2))
    turn = torch.stack([d, -b, -c, a], -1).unflatten(-1, (2, 2)) / (a * d - b * c)[..., None, None]
    return torch.cat([turn, -_times(turn, matrices[..., 2])[..., None]], -1)


def rescaling(old: tuple[float, float], new: tuple[float, float], like: Tensor) -> Tensor:
    """Compute the matrix (2, 3) from the pixels of one grid to those of another over the same picture.

    Args:
        old: (height, width) of the one grid.
        new: (height, width) of the other.
        like: gives device and type.

    Returns:
        the matrix; outer edges coincide.
    """
    y, x = (b / a for a, b in zip(old, new, strict=True))
    return like.new_tensor([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def sample(x: Tensor, matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample maps bilinearly: pixel p of the result is x at `matrices` p, 0 outside.

    Coordinates are float32 or wider.

    Args:
        x: (N, C, H, W).
        matrices: (N, 2, 3) from pixels of the result to pixels of x.
        size: (h, w) of the result.

    Returns:
        (N, C, h, w) of x's type.
    """
    wide = torch.promote_types(torch.promote_types(x.dtype, matrices.dtype), torch.float32)
    height, width = size
    ys, xs = (torch.arange(side, device=x.device, dtype=wide) for side in size)
    pixels = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)], -1)
    sides = pixels.new_tensor([x.shape[-1], x.shape[-2]])
    with torch.autocast(x.device.type, enabled=False):
        places = transform(matrices.to(wide), pixels.view(1, -1, 2))
        grid = ((2 * places + 1) / sides - 1).view(-1, height, width, 2)
        return F.grid_sample(x.to(wide), grid, "bilinear", "zeros", align_corners=False).to(x.dtype)


def draw_similarities(
    count: int,
    size: int,
    turn: float = 30.0,
    scale: tuple[float, float] = (0.8, 1.2),
    move: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw similarities about the middle of a crop, which vary alignments in training.

    Args:
        count: N.
        size: side of the crop in pixels.
        turn: largest angle, degrees.
        scale: smallest and largest scale.
        move: largest shift in x and in y, share of the crop.
        generator: source of the draw; None takes torch's own.

    Returns:
        (N, 2, 3) float32, each of the four numbers uniform.
    """
    angle, factor, *shift = torch.rand(4, count, generator=generator)
    angle, factor = torch.deg2rad(turn * (2 * angle - 1)), scale[0] + (scale[1] - scale[0]) * factor
    re, im = factor * angle.cos(), factor * angle.sin()
    rotation = torch.stack([re, -im, im, re], -1).view(-1, 2, 2)
    middle = torch.full((2,), (size - 1) / 2)
    shifts = move * size * (2 * torch.stack(shift, -1) - 1)
    return torch.cat([rotation, (middle - _times(rotation, middle) + shifts)[..., None]], -1)


def make_templates(poses: Tensor, boxes: Tensor, count: int = 3, seed: int = 0) -> Tensor:
    """Find templates by k-means over poses and their flips, each in the unit square about its box.

    As in the release, poses with fewer than 8 joints do not count, missing joints lie in the middle, and visibilities
    are coordinates like x and y. A template has the joints whose mean visibility is 0.4; unlike there, a joint's place
    is the mean over the poses that have it, so that missing ones do not draw it to the middle.

    Args:
        poses: (N, 17, 3) x, y in pixels and visibility 0, 1 or 2.
        boxes: (N, 4) xyxy of the persons in pixels, edges exclusive; the longer side becomes 1.
        count: number of templates.
        seed: of the first centres.

    Returns:
        (count, 17, 3) float32, those of most poses first.

    Raises:
        ValueError: there are fewer poses than templates.
    """
    unit = _in_unit_square(poses, boxes)
    unit = unit[(unit[..., 2] > 0).sum(1) >= COMMON]
    if len(unit) < count:
        raise ValueError(f"{count} templates need as many poses with {COMMON} joints, here are {len(unit)}")
    pairs = torch.tensor(COCO_KEYPOINT_PAIRS)
    swapped = torch.arange(unit.shape[1])
    swapped[pairs.flatten()] = pairs.flip(1).flatten()
    both = torch.cat([unit, _mirror(unit)[:, swapped]])
    known = both[..., 2:] > 0
    points = torch.cat([both[..., :2].where(known, 0.5), both[..., 2:]], -1).flatten(1)
    members = F.one_hot(_clusters(points, count, seed), count).double()
    members = members[:, members.sum(0).argsort(descending=True, stable=True)]
    weights = torch.einsum("nt,nk->tkn", members, known[..., 0].double())
    places = torch.einsum("tkn,nki->tki", weights, both[..., :2]) / weights.sum(-1).clamp(min=1)[..., None]
    often = (members.T @ both[..., 2]) / members.sum(0).clamp(min=1)[:, None] >= OFTEN
    return torch.cat([places, 2.0 * often[..., None]], -1).where(often[..., None], 0).float()


def _clusters(points: Tensor, count: int, seed: int) -> Tensor:
    """The cluster (N,) int64 of each point (N, D): the k-means of the least squared distances of some starts."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(STARTS):
        centres = points[torch.randperm(len(points), generator=generator)[:count]]
        for _ in range(ROUNDS):
            distances, cluster = torch.cdist(points, centres).min(1)
            members = F.one_hot(cluster, count).to(points.dtype)
            sizes = members.sum(0)[:, None]
            centres, before = torch.where(sizes > 0, members.T @ points / sizes.clamp(min=1), centres), centres
            if torch.equal(centres, before):
                break
        found.append((float(distances.square().sum()), cluster))
    return min(found, key=lambda each: each[0])[1]


def _in_unit_square(poses: Tensor, boxes: Tensor) -> Tensor:
    """Poses (N, K, 3) float64 on the CPU with their boxes' longer sides filling the unit square, centred."""
    poses, boxes = poses.double().cpu(), boxes.double().cpu()
    middle = (boxes[:, None, :2] + boxes[:, None, 2:] - 1) / 2  # pixel centres are integers
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1).clamp(min=1)[:, None, None]
    return torch.cat([(poses[..., :2] - middle) / side + 0.5, poses[..., 2:]], -1)
