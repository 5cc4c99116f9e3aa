"""How benchmarks take their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

CPU = torch.device("cpu")


def best_time(work: Callable[[], object], device: torch.device = CPU, rounds: int = 3) -> float:
    """Take the seconds of one call, the best of `rounds`: what disturbs a machine only ever adds."""
    take = on_cuda if device.type == "cuda" else on_cpu
    return min(take(work) for _ in range(rounds))


def in_turn(works: Mapping[str, Callable[[], object]], rounds: int, device: torch.device = CPU) -> dict[str, float]:
    """Take `best_time` of each, one call of each a round, so that a slow spell of the machine strikes all."""
    times = [{name: best_time(work, device, 1) for name, work in works.items()} for _ in range(rounds)]
    return {name: min(t[name] for t in times) for name in works}


def on_cpu(work: Callable[[], object]) -> float:
    """Take the seconds of one call by the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def on_cuda(work: Callable[[], object]) -> float:
    """Take the seconds of one call by CUDA events; the device is idle before the first and done at the second."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000
