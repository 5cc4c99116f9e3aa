"""Grids of runs: read from the file that `wandb sweep` takes, run here cell by cell, collected in one table.

One process a cell, each in a folder of its own: a cell that is killed goes on where it stopped, a finished one is
never run again.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape
from rich.table import Table
from yaml import YAMLError

from partwise.errors import InputError
from partwise.io import atomic, run_json
from partwise.io.progress import counter
from partwise.tables.units import digits, shown

#: Parameters whose values repeat a setting: a table gives the mean over them.
REPEATS = ("seed", "data.around.offset")

Cell = dict[str, Any]  # value of each parameter
Row = dict[str, Any]  # metrics of a run


@dataclass(frozen=True)
class Sweep:
    """A grid.

    Attributes:
        name: of the file, without suffix.
        metric: key of metrics.json that the table shows first.
        fixed: parameters that all cells share.
        grid: parameters and their values.
    """

    name: str
    metric: str
    fixed: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]

    def cells(self) -> list[Cell]:
        """Return every combination, the last parameter varying fastest."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


def read_sweep(file: str | Path) -> Sweep:
    """Read a grid in Weights & Biases' format.

    Args:
        file: YAML with method, metric.name and parameters.

    Raises:
        InputError: the file is missing, is no YAML, or holds no grid.
    """
    file = Path(file)
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        if content["method"] != "grid":
            raise InputError(f"{file}: method is {content['method']!r}; only grid can be run here")
        parameters = content["parameters"]
        return Sweep(
            name=file.stem,
            metric=content["metric"]["name"],
            fixed={key: p["value"] for key, p in parameters.items() if "value" in p},
            grid={
                key: [override(v) if isinstance(v, list) else v for v in p["values"]]  # cells are compared
                for key, p in parameters.items()
                if "values" in p
            },
        )
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); name a file of experiments/sweeps") from error
    except (YAMLError, OmegaConfBaseException, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is no grid of Weights & Biases ({error}); it needs method, metric.name and parameters"
        ) from error


def cell_name(cell: Cell) -> str:
    """Name a cell's folder: key=value of every parameter that varies."""
    text = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in cell.items())
    return "".join(c if c.isalnum() or c in "=,.-_" else "_" for c in text) or "only"


def run_sweep(
    sweep: Sweep, program: Path, outputs: Path, overrides: Sequence[str] = (), jobs: int = 1, attempts: int = 2
) -> list[str]:
    """Run the cells that are not finished yet.

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
    waiting = [cell for cell in sweep.cells() if finished(outputs / cell_name(cell)) is None]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    failed: list[str] = []
    with counter() as progress, ThreadPoolExecutor(jobs) as pool:
        total = len(sweep.cells())
        bar = progress.add_task(sweep.name, total=total, completed=total - len(waiting))

        def run(cell: Cell) -> None:
            folder = outputs / cell_name(cell)
            if not any(_start(program, {**sweep.fixed, **cell}, folder, overrides, threads) for _ in range(attempts)):
                failed.append(cell_name(cell))
                progress.console.print(f"failed: {folder.name}; see {folder / 'log.txt'}", markup=False)
            progress.advance(bar)

        list(pool.map(run, waiting))
    return failed


def _start(program: Path, values: Cell, folder: Path, overrides: Sequence[str], threads: str) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [f"{key}={override(value)}" for key, value in values.items()]
    shared = f"stages_in={folder.parent / 'stages'}"  # what cells have in common is made once; overrides may say where
    command = [sys.executable, str(program), *arguments, shared, *overrides, f"outputs={folder}", "resume=auto"]
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": threads})
    return done.returncode == 0 and finished(folder) is not None


def override(value: Any) -> str:
    """Write a value as Hydra's command line takes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(override, value))}]"
    return json.dumps(value).replace(" ", "")


def finished(folder: Path) -> Row | None:
    """Return metrics and data ("real" or "synthetic") of the finished run in a cell's folder, None without one."""
    runs = run_json.find(folder, "*/*", status="finished")
    if not runs:
        return None
    newest = max(runs)
    return {"data": runs[newest]["data"], **run_json.read(newest / "metrics.json")}


def collect(sweep: Sweep, outputs: Path) -> Iterator[tuple[Cell, Row]]:
    """Yield finished cells and their metrics.

    Args:
        sweep: the grid.
        outputs: folder of the cells.
    """
    for cell in sweep.cells():
        values = finished(outputs / cell_name(cell))
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
