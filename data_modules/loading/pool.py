"""Run independent jobs on as many processes as pay off, with a progress bar when it takes a while."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Job = TypeVar("Job")

#: A pool is started when the rest would take longer than this, in seconds: processes take a second to start.
_WORTH = 4.0
_PATIENCE = 2.0
_MOST = 8


def run(function: Callable[[Job], None], jobs: Sequence[Job], what: str, workers: int | None = None) -> None:
    """Call a function on every job.

    The first job is timed in this process, so that small work never starts others.

    Args:
        function: importable by name, as other processes must find it, or a method of what can be pickled.
        jobs: picklable; the order of execution is not defined.
        what: text beside the progress bar.
        workers: processes at most; None takes the cores available, up to eight.
    """
    if not jobs:
        return
    begin = time.monotonic()
    function(jobs[0])
    rest, seconds = jobs[1:], time.monotonic() - begin
    count = min(_available() if workers is None else workers, len(rest))
    if multiprocessing.current_process().daemon:  # a loader's worker may not start processes
        count = 1
    parallel = count > 1 and seconds * len(rest) > _WORTH
    with _Bar() as bar:
        task = bar.add_task(what, total=len(jobs), completed=1)
        for _ in _in_parallel(function, rest, count) if parallel else map(function, rest):
            bar.advance(task)
            if not bar.live.is_started and time.monotonic() - begin > _PATIENCE:
                bar.start()


def _in_parallel(function: Callable[[Job], None], jobs: Sequence[Job], count: int) -> Iterator[None]:
    # Spawned, not forked: the caller may hold threads of PyTorch or OpenCV, and locks with them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for done in as_completed([pool.submit(function, job) for job in jobs]):
            yield done.result()


def _available() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST)


class _Bar(Progress):
    """A bar on stderr that is shown only once it is started."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip

    def __enter__(self) -> _Bar:
        return self
