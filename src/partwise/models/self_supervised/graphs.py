"""Match the joints of a person in two frames as nodes of two graphs (section 3.2, Eqs. 1-4).

| paper | here | shape |
|---|---|---|
| C_i, C_{i+1} | structure, other | (M, M), (O, O) symmetric 0 or 1, zero diagonal |
| d(f_i(l_m), f_{i+1}(l_o)) | appearance | (B, M, O) |
| v_{m,o} | matches | (B, M, O) in [0, 1] |
| alpha | alpha | 0.5 |

Eq. 4 minimises D over the visibilities, but D is a sum of products of them and of distances: its minimum is 0, where
nothing matches. Here rows and columns of V sum to at most 1, and each joint that stays unmatched costs kappa:

E(V) = (1 - alpha) L_1 + alpha / (2 d) L_2 + kappa sum_m (1 - sum_o v_mo) + kappa sum_o (1 - sum_m v_mo),

where d is the mean degree, so that both terms count joints. A pair is worth its place where it costs less than 2 kappa.
C is the same for all people and symmetric in left and right: structure alone cannot tell a mirrored skeleton.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from partwise.labels import LIMBS
from partwise.ops.flip import COCO_KEYPOINT_PAIRS
from partwise.scores.coco import KEYPOINTS

ALPHA = 0.5  # section 4.2
STEPS = 30  # of the annealing
COLD = (5.0, 80.0)  # inverse temperatures of its first and last step
_MOST = 4.0  # kappa, which exp() of 64 bits bears at the last step
ROUNDS = 12  # of the normalisation at each step


def _human() -> tuple[Tensor, Tensor]:
    """A person's graph (17, 17), Fig. 4; and which joints may match: those of one name, and mirrored ones."""
    structure, same = torch.zeros(KEYPOINTS, KEYPOINTS), torch.eye(KEYPOINTS, dtype=torch.bool)
    for pairs, matrix in ((LIMBS, structure), (COCO_KEYPOINT_PAIRS, same)):
        a, b = torch.tensor(pairs).T
        matrix[a, b] = matrix[b, a] = 1
    return structure, same


HUMAN, SAME = _human()


def structure_term(matches: Tensor, structure: Tensor, other: Tensor) -> Tensor:
    """Sum v_mo v_np |C_mn - C'_op| over all pairs of matches (Eq. 3).

    |a - b| = a + b - 2 a b for 0 and 1: with row sums r and column sums c of V it is r'Cr + c'C'c - 2 tr(V'CVC').

    Args:
        matches: (B, M, O).
        structure: (M, M) symmetric, 0 or 1.
        other: (O, O) likewise, of the other graph.

    Returns:
        (B,).
    """
    return (matches * _structure_slope(matches, structure, other)).sum((1, 2)) / 2


def _structure_slope(matches: Tensor, structure: Tensor, other: Tensor) -> Tensor:
    """The derivative (B, M, O) of the structure term."""
    rows, columns = matches.sum(2) @ structure, matches.sum(1) @ other
    return 2 * (rows[:, :, None] + columns[:, None] - 2 * structure @ matches @ other)


def energy(
    matches: Tensor,
    appearance: Tensor,
    kappa: float,
    alpha: float = ALPHA,
    structure: Tensor = HUMAN,
    other: Tensor = HUMAN,
) -> Tensor:
    """Compute E, the distance of two graphs (Eq. 1) and the cost of unmatched joints.

    Args:
        matches: (B, M, O) v_mo, rows and columns sum to at most 1.
        appearance: (B, M, O) distances.
        kappa: cost of an unmatched joint.
        alpha: weight of the structure.
        structure: (M, M) graph of the first frame.
        other: (O, O) graph of the second frame.

    Returns:
        (B,).
    """
    structure, other = structure.to(matches), other.to(matches)
    distance = (1 - alpha) * (matches * appearance).sum((1, 2))
    distance = distance + alpha / (2 * _degree(structure)) * structure_term(matches, structure, other)
    return distance + kappa * (matches.shape[1] + matches.shape[2] - 2 * matches.sum((1, 2)))


def match_graphs(
    appearance: Tensor,
    allowed: Tensor,
    kappa: float,
    alpha: float = ALPHA,
    structure: Tensor = HUMAN,
    other: Tensor = HUMAN,
    steps: int = STEPS,
) -> Tensor:
    """Find the matches of least energy by annealed softassign (Gold and Rangarajan, PAMI 1996; Eq. 4).

    Args:
        appearance: (B, M, O) distances; those of pairs that are not allowed are of no effect.
        allowed: (B, M, O) bool, pairs that may match, of joints that are known.
        kappa: cost of an unmatched joint.
        alpha: weight of the structure.
        structure: (M, M) graph of the first frame.
        other: (O, O) graph of the second frame.
        steps: of the annealing.

    Returns:
        (B, M, O) v_mo float32; rows and columns sum to at most 1.
    """
    if not 0 <= kappa <= _MOST:
        raise ValueError(f"kappa is {kappa}, not in 0..{_MOST:g}, where everything matches long since")
    with torch.autocast(appearance.device.type, enabled=False):
        appearance, structure, other = (
            appearance.double(),
            structure.to(appearance).double(),
            other.to(appearance).double(),
        )
        weight, matches = alpha / (2 * _degree(structure)), torch.zeros_like(appearance)
        rows, columns = matches[:, :, :1] + 1, matches[:, :1].mT + 1
        for cold in _cooling(steps):
            slope = (1 - alpha) * appearance + weight * _structure_slope(matches, structure, other)
            new, rows, columns = _normalise((cold * (2 * kappa - slope)).exp() * allowed, rows, columns)
            matches = (matches + new) / 2  # undamped, neighbours that wait for each other would swing
    return new.float()


def _cooling(steps: int) -> list[float]:
    """The inverse temperatures of the steps, in a geometric series."""
    start, end = COLD
    return [start * (end / start) ** (step / max(steps - 1, 1)) for step in range(steps)]


def _degree(structure: Tensor) -> float:
    """The mean degree d, 38 / 17 of a person's graph."""
    return max(float(structure.sum()) / len(structure), 1.0)


def _normalise(gain: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale gain (B, M, O), with a slack row and column of ones, until rows and columns sum to 1 (Sinkhorn).

    Both are scaled at once, half the way: one after the other, a sure match would come to 1 only as 1 - 1/n, since the
    slack of its row and that of its column would take turns.
    """
    for _ in range(ROUNDS):
        rows, columns = (rows / (1 + gain @ columns)).sqrt(), (columns / (1 + gain.mT @ rows)).sqrt()
    matches = rows * gain * columns.mT
    matches = matches / matches.sum(2, keepdim=True).clamp(min=1)
    return matches / matches.sum(1, keepdim=True).clamp(min=1), rows, columns


def visibilities(matches: Tensor) -> tuple[Tensor, Tensor]:
    """Return how visible the joints of both frames are, v_m = max_o v_mo: (B, M) and (B, O) in [0, 1]."""
    return matches.amax(2), matches.amax(1)


class Calibration(NamedTuple):
    """A cost of unmatched joints and what it does to labelled pairs."""

    kappa: float
    kept: float  # share of the true pairs that it keeps
    dropped: float  # share of the false pairs that it drops


def calibrate(true: Tensor, false: Tensor, alpha: float = ALPHA) -> Calibration:
    """Find the kappa that separates true from false pairs best: 2 kappa is (1 - alpha) times a distance between theirs.

    Args:
        true: (P,) appearance distances of pairs that show the same joint.
        false: (Q,) those of pairs that do not.
        alpha: weight of the structure.

    Returns:
        The kappa of the greatest sum of both shares; of equal ones the middle of the widest range.
    """
    values = torch.cat([true, false]).double().sort().values
    cuts = (values[1:] + values[:-1]) / 2
    kept = torch.searchsorted(true.double().sort().values, cuts, right=True) / len(true)
    dropped = 1 - torch.searchsorted(false.double().sort().values, cuts, right=True) / len(false)
    best = (kept + dropped) >= (kept + dropped).max() - 1e-9
    at = int(((values[1:] - values[:-1]) * best).argmax())
    return Calibration((1 - alpha) * float(cuts[at]) / 2, float(kept[at]), float(dropped[at]))
