"""The flow search of temporal parsing refinement on a CPU, beside plain loops.

Random pictures, of whose vectors a share disagrees with the masks. The loop takes one pixel and one candidate after the
other; it gets fewer pixels, and its time is told for as many as ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.timing import in_turn
from partwise.models.self_supervised.tpr import correct_flow

SIZE = (240, 427)  # half of DAVIS's 480p
RADIUS, PATCH = 8, 7


def scene(share: float, size: tuple[int, int] = SIZE) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Both frames (1, 3, H, W), both masks (1, H, W), and a flow (1, 2, H, W) of which a share disagrees with them."""
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 1, 3, *size), generator=draw, dtype=torch.uint8)
    labels = torch.zeros(1, *size, dtype=torch.long)
    wrong = (torch.rand(1, *size, generator=draw) < share).long()
    return frames[0], frames[1], wrong, labels, torch.zeros(1, 2, *size)


def looped(frame_t: Tensor, frame_s: Tensor, labels_t: Tensor, labels_s: Tensor, flow: Tensor, count: int) -> Tensor:
    """Search for the first `count` pixels that disagree, one candidate after the other; returns the flow."""
    half, flow = PATCH // 2, flow.clone()
    margins = ((half, half), (half, half), (0, 0))
    here, there = (np.pad(f[0].permute(1, 2, 0).numpy().astype(np.int32), margins, "edge") for f in (frame_t, frame_s))
    height, width = labels_t.shape[1:]
    for y, x in (labels_t != labels_s)[0].nonzero()[:count].tolist():
        own, best = here[y : y + PATCH, x : x + PATCH], (np.inf, 0)
        for v in range(max(y - RADIUS, 0), min(y + RADIUS + 1, height)):
            for u in range(max(x - RADIUS, 0), min(x + RADIUS + 1, width)):
                cost = np.abs(own - there[v : v + PATCH, u : u + PATCH]).sum(), (u - x) ** 2 + (v - y) ** 2
                if cost < best:
                    best, flow[0, :, y, x] = cost, torch.tensor([u - x, v - y])
    return flow


def run(share: float = 0.05, count: int = 100, rounds: int = 3, size: tuple[int, int] = SIZE) -> list[Table]:
    """Measure on one thread, the rounds of both interleaved, and take the best."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        parts = scene(share, size)
        number = int((parts[2] != parts[3]).sum())
        works: dict[str, Callable[[], object]] = {
            "plain loop": partial(looped, *parts, count),
            "partwise": partial(correct_flow, *parts, radius=RADIUS, patch=PATCH),
        }
        taken = in_turn(works, rounds)
    finally:
        torch.set_num_threads(threads)
    taken["plain loop"] *= number / min(count, number)
    title = f"search for {number} of {size[0]} x {size[1]} pixels, radius {RADIUS}, patches {PATCH} x {PATCH}"
    table = Table("", "s", "times as fast as the loop", title=title)
    for name, seconds in taken.items():
        table.add_row(name, f"{seconds:.2f}", f"{taken['plain loop'] / seconds:.1f}")
    return [table]
