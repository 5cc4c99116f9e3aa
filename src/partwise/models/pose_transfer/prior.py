"""Priors of where a person's parts are, from poses alone: parts of persons with similar poses, or a drawn skeleton.

A part is carried by the similarity of its limb (section 3.4, Eqs. 2-4): every pixel of the target's canvas is looked up
in the source. The canvas is the target's crop, stretched to any size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.arrays import AnyArray, BoolArray, Float64Array
from partwise.models.pose_transfer.library import Library
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.ops.pose import limb_similarity

Sampling = Literal["nearest", "bilinear"]

STICK = 7.0  # width of a limb in the skeleton label map, pixels (section 4.3)
_TYPES = {"nearest": torch.uint8, "bilinear": torch.float32}
_AT_A_TIME = 8  # priors, whose masks the allocator can keep
_FLAGS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}


def part_prior(
    library: Library,
    neighbours: Tensor,
    poses: Tensor,
    sizes: Tensor,
    size: tuple[int, int] = (256, 256),
    sampling: Sampling = "nearest",
) -> Tensor:
    """Average the parts of similar persons, morphed to each target's pose: P_t of section 3.4.

    Args:
        library: persons with parts.
        neighbours: (B, k) indices in the library; -1 are left out of the average.
        poses: (B, K, 3) in pixels of the targets' crops.
        sizes: (B, 2) heights and widths of the crops.
        size: (height, width) of the canvas.
        sampling: how masks are sampled.

    Returns:
        (B, C, *size) float32 in [0, 1], one map a class; all 0 without a neighbour.
    """
    prior = torch.empty(len(poses), len(library.skeleton.classes), *size, device=poses.device)
    average = _average_batched if poses.is_cuda else _average_each
    average(library, neighbours, poses, sizes, sampling, prior)
    return prior


def _average_batched(
    library: Library, neighbours: Tensor, poses: Tensor, sizes: Tensor, sampling: Sampling, prior: Tensor
) -> None:
    """Fill priors (B, C, H, W), a few of them at a time."""
    k, size = neighbours.shape[1], (prior.shape[2], prior.shape[3])
    for start in range(0, len(poses), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        those, canvases = (x[some].repeat_interleave(k, 0) for x in (poses, sizes))
        masks = morph(library, neighbours[some].flatten(), those, canvases, size, sampling)
        sums = masks.unflatten(0, (-1, k)).sum(1, dtype=masks.dtype)  # sums of bytes are fast
        prior[some].copy_(sums).mul_(_weights(neighbours[some]).view(-1, 1, 1, 1))


def _average_each(
    library: Library, neighbours: Tensor, poses: Tensor, sizes: Tensor, sampling: Sampling, prior: Tensor
) -> None:
    """Fill priors (B, C, H, W); every neighbour is drawn into the same canvas, which stays in the cache."""
    k, size = neighbours.shape[1], (prior.shape[2], prior.shape[3])
    indices = neighbours.flatten()
    moves = _moves(library, indices, poses.repeat_interleave(k, 0), sizes.repeat_interleave(k, 0), size)
    persons = _by_person(library, indices, moves)
    masks, total = torch.zeros(2, *prior.shape[1:], dtype=_TYPES[sampling]).numpy()
    for target, weight in zip(prior.numpy(), _weights(neighbours).numpy(), strict=True):
        total.fill(0)
        for limbs in itertools.islice(persons, k):
            masks.fill(0)
            for limb in limbs:
                _draw(limb, masks, sampling)
            total += masks
        np.multiply(total, weight, out=target)


def _weights(neighbours: Tensor) -> Tensor:
    """(B,) what each neighbour counts; 1 where there is none."""
    return 1 / (neighbours >= 0).sum(1).clamp(min=1)


def morph(
    library: Library,
    indices: Tensor,
    poses: Tensor,
    sizes: Tensor,
    size: tuple[int, int] = (256, 256),
    sampling: Sampling = "nearest",
    batched: bool | None = None,
) -> Tensor:
    """Morph the parts of one person of the library to each pose; of parts that become one class the maximum counts.

    A part is left out where the limb of the source or of the target is unknown or shorter than a pixel.

    Args:
        library: persons with parts.
        indices: (N,) of the persons; nothing is drawn for -1.
        poses: (N, K, 3) targets, in pixels of their crops.
        sizes: (N, 2) heights and widths of the crops.
        size: (height, width) of the canvas.
        sampling: how masks are sampled.
        batched: whether one operation samples whole canvases of all parts, as suits a GPU, or each part only where it
            can lie, which is ten times as fast on a CPU. None decides by the device of `poses`.

    Returns:
        (N, C, *size) masks: uint8 0 or 1 if nearest, float32 in [0, 1] if bilinear.
    """
    moves = _moves(library, indices, poses, sizes, size)
    warp = _warp_batched if (poses.is_cuda if batched is None else batched) else _warp_each
    shape = (len(indices), len(library.skeleton.classes), *size)
    return warp(library, indices, moves, torch.zeros(shape, dtype=_TYPES[sampling], device=poses.device), sampling)


class _Moves(NamedTuple):
    """How Q parts move."""

    person: Tensor  # (Q,) position in `indices`
    part: Tensor  # (Q,) row of the skeleton
    boxes: Tensor  # (Q, 4) of the part's pixels in the source crop
    back: Tensor  # (Q, 2, 3) float64 from pixels of the canvas to those of the source crop
    first: Tensor  # (Q, 2) int64 x, y of the first pixel of the canvas that may be in the part
    last: Tensor  # (Q, 2) int64 of the last one; before the first if there is none


def _moves(library: Library, indices: Tensor, poses: Tensor, sizes: Tensor, size: tuple[int, int]) -> _Moves:
    """Compute how each part moves that has pixels and limbs."""
    known = indices.to(library.poses.device)
    source, drawn, boxes = (
        x.to(poses.device) for x in (*library.skeleton.ends(library.poses[known].double()), library.boxes[known])
    )
    target, wanted = library.skeleton.ends(poses.double())
    drawn = drawn & wanted & (boxes[..., 2] > 0) & (indices >= 0)[:, None]
    person, part = drawn.nonzero(as_tuple=True)
    source, target, boxes = (x[drawn] for x in (source, target, boxes))
    back = limb_similarity(target[:, 0], target[:, 1], source[:, 0], source[:, 1])
    ahead = limb_similarity(source[:, 0], source[:, 1], target[:, 0], target[:, 1])
    # The crop is stretched to the canvas: its x is ratio * (x + 1/2) - 1/2 of the canvas.
    ratio = (sizes.double() / sizes.new_tensor(size)).flip(1)[person]
    shift = (back[:, :, :2] @ (ratio / 2 - 0.5)[..., None])[..., 0]
    back = torch.cat([back[:, :, :2] * ratio[:, None], (back[:, :, 2] + shift)[..., None]], 2)

    low, high = boxes[:, :2].double() - 1, boxes[:, 2:].double()  # with all that bilinear sampling may reach
    middle = (ahead[:, :, :2] @ ((low + high) / 2)[..., None])[..., 0] + ahead[:, :, 2]
    half = (ahead[:, :, :2].abs() @ ((high - low) / 2)[..., None])[..., 0]
    canvas = sizes.new_tensor([size[1], size[0]])
    first, last = ((edge + 0.5) / ratio - 0.5 for edge in (middle - half, middle + half))
    first, last = (
        first.ceil().clamp(min=0).minimum(canvas).long(),
        last.floor().clamp(min=-1).minimum(canvas - 1).long(),
    )
    return _Moves(person, part, boxes, back, first, last)


class _Limb(NamedTuple):
    """One part that is to be drawn."""

    mask: BoolArray  # (h, w) of the part's box in the source
    row: int  # class
    back: Float64Array  # (2, 3) from the pixels of the canvas from `first` on to those of the mask
    first: list[int]  # x, y
    size: list[int]  # width, height


def _by_person(library: Library, indices: Tensor, moves: _Moves) -> Iterator[list[_Limb]]:
    """The parts of one person after the other."""
    begin = moves.back[:, :, :2] @ moves.first.double()[..., None] - moves.boxes[:, :2, None]
    backs = torch.cat([moves.back[:, :, :2], moves.back[:, :, 2:] + begin], 2).cpu().numpy()
    columns = (moves.part, moves.boxes, moves.first, moves.last - moves.first + 1)
    rest = zip(backs, *(column.tolist() for column in columns), strict=True)
    for n, count in zip(indices.tolist(), moves.person.bincount(minlength=len(indices)).tolist(), strict=True):
        parts = library.parts[n].numpy()
        yield [
            _Limb(parts[y0:y1, x0:x1] == part + 1, library.skeleton.merged[part], back, first, size)
            for back, part, (x0, y0, x1, y1), first, size in itertools.islice(rest, count)
            if min(size) > 0
        ]


def _draw(limb: _Limb, masks: AnyArray, sampling: Sampling) -> None:
    """Draw a part into the masks (C, H, W) where it may lie."""
    (x, y), (width, height) = limb.first, limb.size
    view = masks[limb.row, y : y + height, x : x + width]
    source = limb.mask.view(np.uint8).astype(view.dtype, copy=False)
    moved = cv2.warpAffine(source, limb.back, (width, height), flags=_FLAGS[sampling] | cv2.WARP_INVERSE_MAP)
    np.maximum(view, moved, out=view)


def _warp_each(library: Library, indices: Tensor, moves: _Moves, canvas: Tensor, sampling: Sampling) -> Tensor:
    """Draw part after part into the canvas, each only where it may lie."""
    canvas = canvas.cpu()
    for masks, limbs in zip(canvas.numpy(), _by_person(library, indices, moves), strict=True):
        for limb in limbs:
            _draw(limb, masks, sampling)
    return canvas


def _warp_batched(library: Library, indices: Tensor, moves: _Moves, canvas: Tensor, sampling: Sampling) -> Tensor:
    """Sample whole canvases of all parts at once."""
    if not len(moves.part):
        return canvas
    maps = [library.parts[n] for n in indices.tolist()]
    height, width = (1 + max(side) for side in zip(*(m.shape for m in maps), strict=True))
    padded = torch.stack([F.pad(m, (0, width - m.shape[1], 0, height - m.shape[0])) for m in maps]).to(canvas.device)
    masks = (padded[moves.person] == (moves.part + 1).view(-1, 1, 1))[:, None].float()
    unit = moves.back.new_tensor([width - 1, height - 1]) / 2  # source pixels a unit of the grid
    back = moves.back / unit[:, None] - moves.back.new_tensor([0, 0, 1])
    x, y = _pixels((canvas.shape[2], canvas.shape[3]), canvas.device)
    grid = torch.einsum("qij,jhw->qhwi", back.float(), torch.stack([x, y, torch.ones_like(x)]))
    warped = F.grid_sample(masks, grid, sampling, "zeros", align_corners=True)[:, 0]
    parts = warped.new_zeros(len(canvas), len(library.skeleton.parts), *canvas.shape[2:])
    parts[moves.person, moves.part] = warped
    return merge(library.skeleton, parts).to(canvas.dtype)


def merge(skeleton: Skeleton, maps: Tensor) -> Tensor:
    """Merge the maps of parts (B, P, H, W) into those of classes (B, C, H, W) by the maximum (section 4.2)."""
    groups = ([p for p, row in enumerate(skeleton.merged) if row == c] for c in range(len(skeleton.classes)))
    return torch.stack([maps[:, group].amax(1) for group in groups], 1)


def skeleton_map(
    skeleton: Skeleton, poses: Tensor, sizes: Tensor, size: tuple[int, int] = (256, 256), width: float = STICK
) -> Tensor:
    """Draw the limbs of poses as sticks, the prior that the paper compares with (section 4.3).

    Args:
        skeleton: of the poses.
        poses: (B, K, 3) in pixels of their crops.
        sizes: (B, 2) heights and widths of the crops.
        size: (height, width) of the canvas that each crop is stretched to.
        width: of a stick, in pixels of the canvas.

    Returns:
        (B, C, *size) float32 0 or 1, one map a class; limbs that are unknown or shorter than a pixel are left out.
    """
    ends, known = skeleton.ends(poses.float())
    ratio = (sizes.to(ends) / ends.new_tensor(size)).flip(1)[:, None, None]
    start, end = ((ends + 0.5) / ratio - 0.5)[..., None, None].unbind(2)  # (B, P, 2, 1, 1)
    limb, away = end - start, torch.stack(_pixels(size, poses.device)) - start
    along = ((away * limb).sum(2) / limb.square().sum(2).clamp(min=1e-12)).clamp(0, 1)
    near = (away - along[:, :, None] * limb).square().sum(2) <= (width / 2) ** 2
    return merge(skeleton, (near & known[..., None, None]).float())


def _pixels(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The x and the y (H, W) float32 of all pixels."""
    x, y = (torch.arange(side, dtype=torch.float32, device=device) for side in (size[1], size[0]))
    return x.expand(size), y[:, None].expand(size)
