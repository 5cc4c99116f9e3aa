"""Conversions between instance maps, masks and boxes, and ATEN's rule that joins parts with persons."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.batches import InstanceMap

_ID_BITS = 32  # the image's index stands in the bits above these


def boxes_of(instances: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Find the ids in instance maps and their tight boxes.

    The host waits for the device once for all maps.

    Args:
        instances: (B, H, W) int64 ids of at most 2^31, 0 = nobody.

    Returns:
        per map, ids (N,) int64 in ascending order and boxes (N, 4) float32 xyxy, right and bottom edges exclusive.
    """
    count, height, width = instances.shape
    ys, xs = (torch.arange(side, device=instances.device) for side in (height, width))
    images = torch.arange(count, device=instances.device).view(-1, 1, 1)
    codes, index = torch.unique(instances + (images << _ID_BITS), return_inverse=True)
    points = torch.stack(torch.broadcast_tensors(xs, ys[:, None]), -1).expand(count, -1, -1, -1).flatten(0, 2)
    index = index.view(-1, 1).expand(-1, 2)
    low = points.new_full((len(codes), 2), max(height, width)).scatter_reduce(0, index, points, "amin")
    high = points.new_zeros((len(codes), 2)).scatter_reduce(0, index, points + 1, "amax")
    boxes, found = torch.cat([low, high], 1).float(), codes.tolist()
    starts = [bisect_left(found, image << _ID_BITS) for image in range(count + 1)]
    result = []
    for image, (start, stop) in enumerate(pairwise(starts)):
        start += start < stop and found[start] == image << _ID_BITS  # skip id 0, nobody
        result.append((codes[start:stop] - (image << _ID_BITS), boxes[start:stop]))
    return result


def paste_mask(mask: Tensor, box: Sequence[float], size: tuple[int, int]) -> tuple[slice, slice, Tensor]:
    """Resize a RoI mask into its box.

    Args:
        mask: (m, m) probabilities that span the box.
        box: xyxy pixels.
        size: (H, W) of the image.

    Returns:
        the rows and the columns that the box touches, and the mask there (h, w) bool: probability at least 0.5, False
        outside the box.
    """
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return slice(0, 0), slice(0, 0), torch.zeros(0, 0, dtype=torch.bool, device=mask.device)
    x0, y0 = max(0, int(left)), max(0, int(top))
    x1, y1 = max(x0, min(size[1], math.ceil(right))), max(y0, min(size[0], math.ceil(bottom)))
    # Sample the mask at the centres of the pixels that the box covers; its cells tile the box exactly.
    xs = (torch.arange(x0, x1, device=mask.device) + 0.5 - left) / (right - left) * 2 - 1
    ys = (torch.arange(y0, y1, device=mask.device) + 0.5 - top) / (bottom - top) * 2 - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
    inside = (grid[0].abs() <= 1).all(-1)
    values = F.grid_sample(mask[None, None].float(), grid, padding_mode="border", align_corners=False)[0, 0]
    return slice(y0, y1), slice(x0, x1), (values >= 0.5) & inside


def join_persons(
    masks: Tensor, boxes: Tensor, scores: Tensor, size: tuple[int, int], keep: float = 0.7
) -> tuple[InstanceMap, Tensor]:
    """Turn detections into disjoint persons (ATEN's released rule).

    In descending order of score, each mask loses the pixels already taken. A person is dropped if at most `keep` of the
    mask remains. The host waits for the device twice, whatever the number of detections.

    Args:
        masks: (N, m, m) RoI mask probabilities.
        boxes: (N, 4) xyxy pixels of the image.
        scores: (N,) in [0, 1].
        size: (H, W) of the image.
        keep: fraction of the mask that must remain.

    Returns:
        the persons, with ids in descending order of score, and their boxes (n, 4).
    """
    claimed = torch.zeros(size, dtype=torch.int64, device=boxes.device)
    order = torch.argsort(scores, descending=True, stable=True)
    kept = torch.zeros(len(order), dtype=torch.bool, device=boxes.device)
    number = claimed.new_ones(())
    for n, (mask, box) in enumerate(zip(masks[order], boxes[order].tolist(), strict=True)):
        rows, columns, whole = paste_mask(mask, box, size)
        here = claimed[rows, columns]
        free = whole & (here == 0)
        kept[n] = free.sum() > keep * whole.sum()
        here.copy_(torch.where(free & kept[n], number, here))
        number = number + kept[n]
    chosen = order[kept]
    persons = InstanceMap(map=claimed, classes=torch.ones_like(chosen), scores=scores[chosen].float())
    return persons, boxes[chosen]


def join_parts(probs: Tensor, persons: InstanceMap) -> tuple[Tensor, InstanceMap]:
    """Split the part map into part instances by person (ATEN's released rule).

    For each class and person, the region `parts == class and person` is an instance. Its score is the mean probability
    of the class over the region times the person's score. Pixels outside persons belong to no instance.

    Args:
        probs: (C, H, W) part probabilities.
        persons: disjoint persons with scores.

    Returns:
        parts (H, W) int64 and the part instances, ordered by class, then by person.
    """
    best, parts = probs.max(0)
    num_persons = len(persons["classes"])
    # One joint code per pixel: class-major, so that instance ids ascend by class, then by person.
    code = parts * (num_persons + 1) + persons["map"]
    code[(parts == 0) | (persons["map"] == 0)] = 0
    codes, index = torch.unique(code, return_inverse=True)
    area = torch.bincount(index.flatten(), minlength=len(codes))
    mean = torch.zeros(len(codes), device=probs.device).scatter_add_(0, index.flatten(), best.float().flatten())
    mean = mean / area
    background = int(codes[0] == 0)  # code 0 sorts first and is no instance
    codes, mean = codes[background:], mean[background:]
    owner = codes % (num_persons + 1)
    scores = mean * persons["scores"][owner - 1]
    return parts, InstanceMap(map=index + 1 - background, classes=codes // (num_persons + 1), scores=scores)
