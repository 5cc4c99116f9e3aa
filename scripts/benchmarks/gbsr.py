"""Matching of people's joints as graphs, all pairs at once, beside a loop over people and joints."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.timing import in_turn
from partwise.models.self_supervised import graphs
from partwise.models.self_supervised.gbsr import KAPPA

PAIRS = 64


def random_distances(pairs: int, seed: int) -> Tensor:
    """Appearance distances (B, 17, 17) of people a fifth of whose joints are wrong."""
    generator = torch.Generator().manual_seed(seed)
    appearance = 1.07 + 0.18 * torch.randn(pairs, 17, 17, generator=generator)
    wrong = torch.rand(pairs, 17, 1, generator=generator) < 0.2
    true = torch.eye(17, dtype=torch.bool) & ~wrong
    return torch.where(true, appearance - 0.7, appearance).clamp(min=0)


def looped(appearance: Tensor, kappa: float = KAPPA) -> Tensor:
    """Match person after person and joint after joint, in plain Python over the pairs that are allowed."""
    return torch.tensor([_person(distances, kappa) for distances in appearance.tolist()])


def _person(distances: list[list[float]], kappa: float) -> list[list[float]]:
    """The softassign of `graphs.match_graphs` in loops."""
    joints = range(len(distances))
    pairs = [(m, o) for m in joints for o in joints if graphs.SAME[m, o]]
    near = [[n for n in joints if graphs.HUMAN[m, n]] for m in joints]
    weight = graphs.ALPHA * len(near) / sum(map(len, near))
    matches, rows, columns = dict.fromkeys(pairs, 0.0), [1.0 for _ in joints], [1.0 for _ in joints]
    found = matches
    for step in range(graphs.STEPS):
        cold = graphs.COLD[0] * (graphs.COLD[1] / graphs.COLD[0]) ** (step / (graphs.STEPS - 1))
        left, there = _sums(matches, joints)
        gain = {}
        for m, o in pairs:
            slope = sum(left[n] for n in near[m]) + sum(there[p] for p in near[o])
            slope -= 2 * sum(matches.get((n, p), 0.0) for n in near[m] for p in near[o])
            cost = (1 - graphs.ALPHA) * distances[m][o] + weight * slope
            gain[m, o] = math.exp(cold * (2 * kappa - cost))
        for _ in range(graphs.ROUNDS):
            across = {(m, o): g * columns[o] for (m, o), g in gain.items()}
            down = {(m, o): g * rows[m] for (m, o), g in gain.items()}
            to_rows, to_columns = _sums(across, joints)[0], _sums(down, joints)[1]
            rows = [math.sqrt(r / (1 + s)) for r, s in zip(rows, to_rows, strict=True)]
            columns = [math.sqrt(c / (1 + s)) for c, s in zip(columns, to_columns, strict=True)]
        found = _bounded({(m, o): rows[m] * g * columns[o] for (m, o), g in gain.items()}, joints)
        matches = {pair: (matches[pair] + found[pair]) / 2 for pair in pairs}
    return [[found.get((m, o), 0.0) for o in joints] for m in joints]


def _sums(values: dict[tuple[int, int], float], joints: range) -> tuple[list[float], list[float]]:
    """Sums of rows and of columns."""
    rows, columns = [0.0 for _ in joints], [0.0 for _ in joints]
    for (m, o), value in values.items():
        rows[m] += value
        columns[o] += value
    return rows, columns


def _bounded(values: dict[tuple[int, int], float], joints: range) -> dict[tuple[int, int], float]:
    """Rows, then columns, divided by their sums where those are above 1."""
    sums = _sums(values, joints)[0]
    values = {(m, o): value / max(sums[m], 1) for (m, o), value in values.items()}
    sums = _sums(values, joints)[1]
    return {(m, o): value / max(sums[o], 1) for (m, o), value in values.items()}


def run(device: torch.device, pairs: int = PAIRS, rounds: int = 3) -> list[Table]:
    """Measure, on a CPU with one thread, the rounds of both interleaved, and take the best."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [matching(device, pairs, rounds)]
    finally:
        torch.set_num_threads(threads)


def matching(device: torch.device, pairs: int, rounds: int) -> Table:
    """Match the joints of people in two frames."""
    distances = random_distances(pairs, 0)
    there, allowed = distances.to(device), graphs.SAME.to(device).expand(pairs, -1, -1)
    works: dict[str, Callable[[], object]] = {
        "loop over people and joints": partial(looped, distances),
        "partwise, one person at a time": partial(_one_by_one, there, allowed),
        "partwise": partial(graphs.match_graphs, there, allowed, KAPPA),
    }
    taken = in_turn(works, rounds, device)
    slowest = taken["loop over people and joints"]
    table = Table("", "ms", "times as fast as the loop", title=f"joints of {pairs} people in two frames, {device}")
    for title, seconds in taken.items():
        table.add_row(title, f"{1000 * seconds:.1f}", f"{slowest / seconds:.1f}")
    return table


def _one_by_one(distances: Tensor, allowed: Tensor) -> None:
    for row in range(len(distances)):
        graphs.match_graphs(distances[row : row + 1], allowed[row : row + 1], KAPPA)
