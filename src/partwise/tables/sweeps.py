"""Grids of runs: run here cell by cell, collected in one table.

One process a cell, each in a folder of its own: a cell that is killed goes on where it stopped, a finished one is
never run again, and one that another process works on is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from partwise.errors import InputError
from partwise.io import atomic, lock, run_json
from partwise.io.progress import counter
from partwise.tables.grid import Cell, Sweep, override
from partwise.tables.units import digits, shown

#: Parameters whose values repeat a setting: a table gives the mean over them.
REPEATS = ("seed", "data.around.offset")

LONGEST = 100  # characters of a folder's name, without its digest
Row = dict[str, Any]  # metrics of a run


def cell_name(cell: Cell) -> str:
    """Name a cell's folder: key=value of every parameter that varies, and a digest where that does not say it all."""
    name, exact = _readable(cell), _exact(cell)
    separated = exact.count("=") == len(cell) and exact.count(",") == max(0, len(cell) - 1)
    if name == (exact or "only") and len(name) <= LONGEST and separated:
        return name
    written = json.dumps({key: override(value) for key, value in cell.items()})
    return f"{name[:LONGEST]}-{hashlib.sha256(written.encode()).hexdigest()[:8]}"


def _exact(cell: Cell) -> str:
    return ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in cell.items())


def _readable(cell: Cell) -> str:
    return "".join(c if (c.isalnum() and c.isascii()) or c in "=,.-_" else "_" for c in _exact(cell)) or "only"


def place(outputs: Path, cell: Cell) -> Path:
    """Return a cell's folder.

    One without a digest, as earlier releases named it, counts if its runs were given this cell's values.

    Args:
        outputs: folder of the cells.
        cell: its values.
    """
    folder, earlier = outputs / cell_name(cell), outputs / _readable(cell)
    if folder.is_dir() or not os.path.isdir(earlier):  # False also where the name is too long
        return folder
    values = {f"{key}={override(value)}" for key, value in cell.items()}
    given = [record.get("overrides") for record in run_json.find(earlier, "*/*").values()]
    return earlier if given and all(values <= set(overrides or ()) for overrides in given) else folder


def run_sweep(
    sweep: Sweep, program: Path, outputs: Path, overrides: Sequence[str] = (), jobs: int = 1, attempts: int = 2
) -> list[str]:
    """Run the cells that are not finished yet, and name those that another process works on.

    Args:
        sweep: the grid.
        program: `run.py`, which every cell starts in the current folder.
        outputs: folder of the cells.
        overrides: further `key=value` for every cell.
        jobs: number of cells that run at the same time and share the cores.
        attempts: how often a cell is started before it counts as failed; it goes on from its last checkpoint.

    Returns:
        Names of the cells that failed.
    """
    waiting = [cell for cell in sweep.cells() if finished(place(outputs, cell)) is None]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    failed: list[str] = []
    with counter() as progress, ThreadPoolExecutor(jobs) as pool:
        total = len(sweep.cells())
        bar = progress.add_task(sweep.name, total=total, completed=total - len(waiting))

        def run(cell: Cell) -> None:
            folder = place(outputs, cell)
            try:
                if not _finish(program, {**sweep.fixed, **cell}, folder, overrides, threads, attempts):
                    failed.append(folder.name)
                    progress.console.print(f"failed: {folder.name}; see {folder / 'log.txt'}", markup=False)
            except lock.Held as held:
                say = f"passed over: {folder.name}, which {held.by} works on"
                progress.console.print(say, markup=False, highlight=False, soft_wrap=True)
            progress.advance(bar)

        list(pool.map(run, waiting))
    return failed


def _finish(program: Path, values: Cell, folder: Path, overrides: Sequence[str], threads: str, attempts: int) -> bool:
    """Run a cell and tell whether it is finished, unless another sweep or a run that outlived one works on it."""
    with atomic.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    held = lock.hold(folder)
    try:
        for run in run_json.find(folder, "*/*", status=run_json.UNFINISHED):
            if by := lock.holder(run):
                raise lock.Held(run, by)
        return any(
            finished(folder) is not None or _start(program, values, folder, overrides, threads) for _ in range(attempts)
        )
    finally:
        held.release()


def _start(program: Path, values: Cell, folder: Path, overrides: Sequence[str], threads: str) -> bool:
    arguments = [f"{key}={override(value)}" for key, value in values.items()]
    shared = f"stages_in={folder.parent / 'stages'}"  # what cells have in common is made once; overrides may say where
    command = [sys.executable, str(program), *arguments, shared, *overrides, f"outputs={folder}", "resume=auto"]
    with atomic.writing(folder), (folder / "log.txt").open("a") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": threads})
    return done.returncode == 0 and finished(folder) is not None


def finished(folder: Path) -> Row | None:
    """Return metrics and data ("real" or "synthetic") of the finished run in a cell's folder, None without one."""
    runs = run_json.find(folder, "*/*", status="finished")
    for newest in sorted(runs, reverse=True):
        with run_json.passed_over(newest):
            metrics = run_json.read(newest / "metrics.json")
            if not all(value is None or isinstance(value, int | float) for value in metrics.values()):
                raise InputError(f"{newest / 'metrics.json'} holds something else than numbers")
            return {"data": str(runs[newest].get("data")), **metrics}
    return None


def collect(sweep: Sweep, outputs: Path) -> Iterator[tuple[Cell, Row]]:
    """Yield finished cells and their metrics.

    Args:
        sweep: the grid.
        outputs: folder of the cells.
    """
    for cell in sweep.cells():
        values = finished(place(outputs, cell))
        if values is not None:
            yield cell, values


def write_csv(sweep: Sweep, outputs: Path, file: Path) -> None:
    """Write one row for each finished cell: its parameters, then its metrics on the test split.

    Args:
        sweep: the grid.
        outputs: folder of the cells.
        file: to write.
    """
    rows = [
        {**cell, **{k: v for k, v in values.items() if k.startswith(("data", "test/"))}}
        for cell, values in collect(sweep, outputs)
    ]
    atomic.write_csv(file, [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows])


def summary_table(sweep: Sweep, outputs: Path, metrics: Sequence[str], title: str) -> Table:
    """Make a table of mean ± standard deviation over the repetitions of every setting, fractions in percent.

    Args:
        sweep: the grid.
        outputs: folder of the cells.
        metrics: keys of metrics.json, one column each.
        title: of the table.
    """
    keys = [key for key in sweep.grid if key not in REPEATS]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for cell, values in collect(sweep, outputs):
        groups.setdefault(tuple(cell[key] for key in keys), []).append(values)
    table = Table(*keys, "data", *metrics, "runs", title=title, title_justify="left")
    for setting, runs in groups.items():
        spreads = [_spread(metric, [run.get(metric) for run in runs]) for metric in metrics]
        origins = "/".join(sorted({run["data"] for run in runs}))
        table.add_row(*(escape(str(value)) for value in setting), origins, *spreads, str(len(runs)))
    return table


def _spread(metric: str, values: Sequence[float | None]) -> str:
    known, decimals = [shown(metric, v) for v in values if v is not None], digits(metric)
    if not known:
        return "–"
    mean = f"{statistics.fmean(known):.{decimals}f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.{decimals}f}"
