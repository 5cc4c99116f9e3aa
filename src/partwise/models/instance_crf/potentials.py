"""The unary potentials of the Instance CRF (sections 3.2.1 and 3.2.2).

Of D detections and P parts, channel 0 is the background and channel 1 + (i - 1) P + (j - 1) part j of detection i.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8  # of Eq. 1
LEAST_WEIGHT = 1e-4  # keeps the logarithm defined while the weights are learned


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Find the pixels of boxes, B_i.

    Args:
        boxes: (D, 4) xyxy in pixels, ends included.
        height: of the image.
        width: of the image.

    Returns:
        (D, H, W) bool.
    """
    ys, xs = torch.arange(height, device=boxes.device)[:, None], torch.arange(width, device=boxes.device)
    x0, y0, x1, y1 = (side[:, None, None] for side in boxes.unbind(1))
    return (xs >= x0) & (xs <= x1) & (ys >= y0) & (ys <= y1)


def box_term(Q: Tensor, members: Tensor, scores: Tensor) -> Tensor:
    """Compute psi_Box (Eq. 2): s_i Q(j) inside of detection i, 0 outside.

    Args:
        Q: (P + 1, H, W) probabilities of the parts, background first.
        members: (D, H, W) what belongs to each detection: its box (bool), or a mask in 0..1.
        scores: (D,) in 0..1.

    Returns:
        (D, P, H, W).
    """
    return (scores[:, None, None] * members)[:, None] * Q[1:]


def global_term(Q: Tensor, detections: int) -> Tensor:
    """Compute psi_Global (Eq. 3): Q(j), whatever the detection.

    Args:
        Q: (P + 1, H, W) probabilities of the parts, background first.
        detections: D.

    Returns:
        (D, P, H, W).
    """
    return Q[1:].expand(detections, -1, -1, -1)


def unary(Q: Tensor, boxes: Tensor, scores: Tensor, w1: Tensor | float, w2: Tensor | float) -> Tensor:
    """Compute the log-potentials ln(w1 psi_Box + w2 psi_Global + epsilon) of Eq. 1.

    Args:
        Q: (P + 1, H, W) probabilities of the parts, background first.
        boxes: (D, 4) xyxy in pixels, ends included.
        scores: (D,) in 0..1.
        w1: weight of the box term.
        w2: weight of the global term, the background's only one.

    Returns:
        (P D + 1, H, W).
    """
    return log_potentials(Q, inside(boxes, *Q.shape[1:]), scores, w1, w2)


def log_potentials(
    Q: Tensor,
    members: Tensor,
    scores: Tensor,
    w1: Tensor | float,
    w2: Tensor | float,
    *,
    everywhere: bool = True,
) -> Tensor:
    """Compute `unary` of detections that are not boxes, or without the persons' global term.

    Args:
        Q: (P + 1, H, W) probabilities of the parts, background first.
        members: (D, H, W) what belongs to each detection: its box (bool), or a mask in 0..1.
        scores: (D,) in 0..1.
        w1: weight of the box term.
        w2: weight of the global term.
        everywhere: whether persons have the global term; the background always has.

    Returns:
        (P D + 1, H, W).
    """
    w1, w2 = (_at_least(torch.as_tensor(w, dtype=Q.dtype, device=Q.device), LEAST_WEIGHT) for w in (w1, w2))
    persons = w1 * box_term(Q, members, scores)
    if everywhere:
        persons = persons + w2 * global_term(Q, len(members))
    return torch.cat([w2 * Q[:1], persons.flatten(0, 1)]).add(EPSILON).log()


def _at_least(w: Tensor, least: float) -> Tensor:
    """Raise a weight to a least value; its gradient stays, as it would not come back without."""
    return w + (w.clamp(min=least) - w).detach()
