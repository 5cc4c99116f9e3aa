"""The permutation-invariant target (section 3.3): ground truth, numbered as the prediction is."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from partwise.labels import IGNORE
from partwise.ops.instances import boxes_of

IGNORED = -1  # in targets; there may be more than 255 labels
CLOSE = 0.5  # IoU of boxes from which a person may take a detection that shows none of its pixels
TIE = 1e-3  # weight of the boxes' IoU, which decides between equal masks


@torch.no_grad()
def matched_target(
    predicted: Tensor, parts: Tensor, persons: Tensor, boxes: Tensor, num_parts: int, *, together: bool = False
) -> Tensor:
    """Renumber the ground truth so that its IoU with the prediction is largest (Eq. 4).

    Segments of different parts have an IoU of 0, so that each part is an assignment problem of its own.

    Args:
        predicted: (H, W) int64 predicted labels, 0 .. P D.
        parts: (H, W) int64 true parts, 0 .. P, 255 = ignored.
        persons: (H, W) int64 true ids of persons, 0 = nobody.
        boxes: (D, 4) xyxy of the detections, ends included.
        num_parts: P.
        together: whether all parts of a person take the same detection.

    Returns:
        (H, W) int64: 0 .. P D, `IGNORED` where the truth is ignored, is of nobody, or has no detection left.
    """
    detections = len(boxes)
    ids, own_boxes = boxes_of(persons[None])[0]
    number = torch.bucketize(persons, ids) + 1  # 1 .. G; of nobody anything
    number = torch.where(persons > 0, number, 0)
    known = parts != IGNORE
    part = torch.where(known, parts, 0)
    iou = _mask_iou(predicted, part, number, known, len(ids), detections, num_parts, together)
    near = box_iou(own_boxes - own_boxes.new_tensor([0, 0, 1, 1]), boxes.to(own_boxes)).nan_to_num()
    table = torch.full((len(ids) + 1, num_parts + 1), IGNORED)
    table[:, 0] = 0
    for j in range(1, num_parts + 1):
        weight = iou[j - 1].cpu() + TIE * near.cpu()
        shown = torch.zeros(len(ids) + 1, dtype=torch.bool)
        shown[number[part == j].unique().cpu()] = True
        rows = shown[1:].nonzero()[:, 0] if not together else torch.arange(len(ids))
        for row, column in zip(*linear_sum_assignment(weight[rows].numpy(), maximize=True), strict=True):
            g, d = int(rows[row]), int(column)
            if iou[j - 1, g, d] > 0 or near[g, d] >= CLOSE:
                table[g + 1, j] = 1 + d * num_parts + j - 1
    target = table.to(parts.device)[number, part]
    return torch.where(known, target, IGNORED)


def _mask_iou(
    predicted: Tensor, part: Tensor, number: Tensor, known: Tensor, people: int, detections: int, num_parts: int,
    together: bool,
) -> Tensor:  # fmt: skip
    """IoU (P, G, D) of what each true person and each detection show of each part, or of all parts together."""
    found = (predicted - 1).clamp(min=0)
    slot = torch.where(predicted > 0, found // num_parts + 1, 0)
    shown = torch.where(predicted > 0, found % num_parts + 1, 0)
    truth = torch.where(part > 0, number, 0)
    j_true, j_found = (torch.zeros_like(part), torch.zeros_like(part)) if together else (part, shown)
    own = torch.bincount((truth * (num_parts + 1) + j_true)[known], minlength=(people + 1) * (num_parts + 1))
    own = own.view(people + 1, -1)[1:]
    taken = torch.bincount((slot * (num_parts + 1) + j_found)[known], minlength=(detections + 1) * (num_parts + 1))
    taken = taken.view(detections + 1, -1)[1:]
    same = known & (j_true == j_found)
    code = (truth * (detections + 1) + slot) * (num_parts + 1) + j_true
    both = torch.bincount(code[same], minlength=(people + 1) * (detections + 1) * (num_parts + 1))
    both = both.view(people + 1, detections + 1, -1)[1:, 1:].permute(2, 0, 1)
    union = own.T[:, :, None] + taken.T[:, None] - both
    iou = both / union.clamp(min=1)
    return iou[:1].expand(num_parts, -1, -1) if together else iou[1:]
