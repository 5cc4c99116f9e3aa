"""Metrics over two gloo processes: what each of them sees, and how they are started."""

from __future__ import annotations

import importlib
import json
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


def measure(
    rank: int,
    folder: str,
    scenarios: Mapping[str, Sequence[Any]],
    scores: Callable[[Any, Any], list[str]],
) -> None:
    """Write what one of the processes scores, a list of texts a scenario.

    Args:
        rank: of the process, 0 or 1.
        folder: that both share.
        scenarios: the batches of both ranks, by name.
        scores: of a rank's own batches and of the other's.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {name: scores(batches[rank], batches[1 - rank]) for name, batches in scenarios.items()}
    dist.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(results))


def in_both(file: str, folder: Path) -> list[Any]:
    """Run `run(rank, folder)` of a module in two processes, which import it by name; what each of them wrote."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(file).parent)  # spawned processes inherit the path
        torch.multiprocessing.spawn(importlib.import_module(Path(file).stem).run, args=(str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
