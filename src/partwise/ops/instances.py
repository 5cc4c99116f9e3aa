"""Between instance maps, masks and boxes, and ATEN's rule that joins parts with persons."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.batches import InstanceMap


def boxes_of(instances: Tensor) -> tuple[Tensor, Tensor]:
    """The ids in a map and their tight boxes.

    Args:
        instances: (H, W) int64 ids, 0 = nobody.

    Returns:
        ids (N,) int64 ascending; boxes (N, 4) float32 xyxy, right and bottom edges exclusive.
    """
    ys, xs = torch.nonzero(instances, as_tuple=True)
    ids, index = torch.unique(instances[ys, xs], return_inverse=True)
    low = torch.full((len(ids), 2), max(instances.shape), device=instances.device)
    high = torch.zeros_like(low)
    points = torch.stack([xs, ys], 1)
    index = index[:, None].expand(-1, 2)
    low = low.scatter_reduce(0, index, points, "amin")
    high = high.scatter_reduce(0, index, points + 1, "amax")
    return ids, torch.cat([low, high], 1).float()


def paste_mask(mask: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a RoI mask into its box.

    Args:
        mask: (m, m) probabilities; the box spans the whole of it.
        box: (4,) xyxy pixels.
        size: (H, W) of the image.

    Returns:
        (H, W) bool: probability at least 0.5, False outside the box.
    """
    left, top, right, bottom = box.tolist()
    x0, y0 = max(0, int(left)), max(0, int(top))
    x1, y1 = min(size[1], int(-(-right // 1))), min(size[0], int(-(-bottom // 1)))
    out = torch.zeros(size, dtype=torch.bool, device=mask.device)
    if x1 <= x0 or y1 <= y0 or right <= left or bottom <= top:
        return out
    # Sample the mask at the centres of the pixels the box covers; its cells tile the box exactly.
    xs = (torch.arange(x0, x1, device=mask.device) + 0.5 - left) / (right - left) * 2 - 1
    ys = (torch.arange(y0, y1, device=mask.device) + 0.5 - top) / (bottom - top) * 2 - 1
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
    inside = (grid[0].abs() <= 1).all(-1)
    values = F.grid_sample(mask[None, None].float(), grid, padding_mode="border", align_corners=False)[0, 0]
    out[y0:y1, x0:x1] = (values >= 0.5) & inside
    return out


def join_persons(
    masks: Tensor, boxes: Tensor, scores: Tensor, size: tuple[int, int], keep: float = 0.7
) -> tuple[InstanceMap, Tensor]:
    """Detections to disjoint persons (ATEN's released rule).

    In descending score each mask is cut by the pixels already claimed; a person of whose mask at most `keep`
    remains is dropped.

    Args:
        masks: (N, m, m) RoI mask probabilities.
        boxes: (N, 4) xyxy pixels of the image.
        scores: (N,) in [0, 1].
        size: (H, W) of the image.
        keep: share of its mask that a person must keep.

    Returns:
        persons, ids by descending score; boxes (n, 4) of those kept.
    """
    claimed = torch.zeros(size, dtype=torch.int64, device=boxes.device)
    kept: list[int] = []
    for n in torch.argsort(scores, descending=True, stable=True).tolist():
        mask = paste_mask(masks[n], boxes[n], size)
        free = mask & (claimed == 0)
        if free.sum() <= keep * mask.sum():
            continue
        kept.append(n)
        claimed[free] = len(kept)
    index = torch.tensor(kept, dtype=torch.int64, device=boxes.device)
    persons = InstanceMap(map=claimed, classes=torch.ones_like(index), scores=scores[index].float())
    return persons, boxes[index]


def join_parts(probs: Tensor, persons: InstanceMap) -> tuple[Tensor, InstanceMap]:
    """Cut the part map into part instances along the persons (ATEN's released rule).

    For each class and person the region `parts == class and person` is an instance; its score is the mean
    probability of the class over the region times the person's score. Pixels outside persons are in no instance.

    Args:
        probs: (C, H, W) part probabilities.
        persons: disjoint persons with scores.

    Returns:
        parts (H, W) int64 and the part instances, ordered by class, then person.
    """
    best, parts = probs.max(0)
    num_persons = len(persons["classes"])
    # One joint code a pixel: class-major, so that instance ids ascend by class, then by person.
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
