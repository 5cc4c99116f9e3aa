"""Functions of tests run in each of two gloo processes."""

from __future__ import annotations

import datetime
import importlib
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

# Images each rank sees, by update. Odd images have no detections; multiples of 3 have no true objects or persons.
SCENARIOS: dict[str, tuple[list[list[int]], list[list[int]]]] = {
    "odd_number": ([[0, 2], [4, 6]], [[1, 3], [5]]),
    "uneven_updates": ([[4], [8], [0, 2], [5]], [[10, 1]]),
    "padded_sampler": ([[0, 2], [4, 6]], [[1, 3], [5, 0]]),
    "rank_without_detections": ([[2, 4], [8]], [[1, 5], [7]]),
    "rank_without_updates": ([[2, 4, 1]], []),
    "first_rank_without_updates": ([], [[2, 4, 1]]),
    "no_detections_at_all": ([[1, 7]], [[5]]),
    "no_updates_at_all": ([], []),
}
PATIENCE = datetime.timedelta(seconds=120)  # of a process that waits for the other one


def in_both(work: Callable[[Any, Any], Any], scenarios: Mapping[str, Sequence[Any]], folder: Path) -> list[Any]:
    """Run a function of a test module in two processes, which import the module by name.

    Args:
        work: of a rank's own part of a scenario and of the other's; what it returns is written as json.
        scenarios: the parts of both ranks, by name.
        folder: empty, which both processes share.

    Returns:
        what each rank's calls returned, by scenario.
    """
    file = Path(inspect.getfile(work))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(file.parent)  # spawned processes inherit the path
        torch.multiprocessing.spawn(_run, args=(file.stem, work.__name__, scenarios, folder), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def _run(rank: int, module: str, name: str, scenarios: Mapping[str, Sequence[Any]], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=PATIENCE
    )
    work = getattr(importlib.import_module(module), name)
    results = {scenario: work(parts[rank], parts[1 - rank]) for scenario, parts in scenarios.items()}
    (folder / f"{rank}.json").write_text(json.dumps(results))
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may abort an interpreter that is being torn down, see pytorch/pytorch#179291
