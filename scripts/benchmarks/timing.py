"""How benchmarks take their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of one call, the best of a few: what disturbs a machine only ever adds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def in_turn(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """`seconds` of each, one call of each a round, so that a slow spell of the machine strikes all."""
    times = [{name: seconds(work, 1) for name, work in works.items()} for _ in range(rounds)]
    return {name: min(t[name] for t in times) for name in works}
