"""From labels over parts of detections to parts, persons and part instances (section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from partwise.batches import InstanceMap, Parsing


def read_out(labels: Tensor, Q: Tensor, boxes: Tensor) -> Parsing:
    """Read a parsing off the labels: (i, j) is person i and part j.

    The score of a part instance is the mean of its part's Q over its pixels, that of a person the mean of 1 - Q(0).
    Detections without pixels are dropped.

    Args:
        labels: (H, W) int64, 0 .. P D.
        Q: (P + 1, H, W) probabilities of the parts, background first.
        boxes: (D, 4) of the detections.

    Returns:
        parts, disjoint persons in the detections' order, their boxes, and part instances by person, then by part.
    """
    num_parts = len(Q) - 1
    codes, index = torch.unique(labels, return_inverse=True)
    background = int(len(codes) > 0 and codes[0] == 0)
    person, part = (codes - 1) // num_parts, (codes - 1) % num_parts + 1
    parts = torch.where(codes > 0, part, 0)[index]
    own = Q.gather(0, parts[None])[0]
    part_instances = InstanceMap(
        map=index + 1 - background, classes=part[background:], scores=_means(own, index, len(codes))[background:]
    )
    kept, of_code = torch.unique(person[background:], return_inverse=True)
    ids = torch.zeros_like(codes)
    ids[background:] = of_code + 1
    people = ids[index]
    persons = InstanceMap(map=people, classes=torch.ones_like(kept), scores=_means(1 - Q[0], people, len(kept) + 1)[1:])
    return Parsing(parts=parts, persons=persons, boxes=boxes[kept].float(), part_instances=part_instances)


def _means(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Mean of values (H, W) over the pixels of each index; 0 for one without."""
    total = torch.zeros(count, device=values.device).scatter_add_(0, index.flatten(), values.float().flatten())
    return total / torch.bincount(index.flatten(), minlength=count).clamp(min=1)
