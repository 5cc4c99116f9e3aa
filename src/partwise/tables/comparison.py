"""Published metrics beside those of finished runs: reproduced, different, or not run.

Only runs that are known to follow a paper's recipe on its data are judged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from partwise.errors import InputError
from partwise.io import atomic
from partwise.tables.published import PublishedMetric
from partwise.tables.trained import TrainedRun
from partwise.tables.units import shown

VERDICTS = REPRODUCED, DIFFERENT, NOT_RUN = ("reproduced", "different", "not run")


class Comparison(NamedTuple):
    """A published metric beside the mean of the runs that reproduce it.

    Attributes:
        record: the published metric.
        ours: mean over the runs, in the paper's unit; None without a run.
        deviation: standard deviation over seeds; None with fewer than two.
        runs: number of runs.
        difference: ours minus published, points of percent; None where it is not judged.
        verdict: one of `VERDICTS`, or empty where the paper prints no number.
        data: what the runs were trained on; empty without a run.
    """

    record: PublishedMetric
    ours: float | None
    deviation: float | None
    runs: int
    difference: float | None
    verdict: str
    data: str


def compare(records: Sequence[PublishedMetric], runs: Sequence[TrainedRun], tolerance: float = 1.0) -> list[Comparison]:
    """Set every metric beside its runs: at least one line a metric, one for each set of overrides.

    Runs that cannot be judged are shown only where no other is.

    Args:
        records: published metrics.
        runs: finished runs.
        tolerance: points of percent that a reproduced metric may differ by.

    Returns:
        The comparisons, in the order of `records`.

    Raises:
        InputError: the tolerance is negative or no number.
    """
    if not tolerance >= 0:
        raise InputError(f"tolerance {tolerance} must be 0 or more points of percent")
    return [comparison for record in records for comparison in _beside(record, runs, tolerance)]


def _beside(record: PublishedMetric, runs: Sequence[TrainedRun], tolerance: float) -> Iterator[Comparison]:
    fitting = [run for run in runs if record.key and run.fits(record.run)]
    judged = [run for run in fitting if run.comparable] or fitting
    for about in dict.fromkeys(run.about for run in judged):
        yield _compare_group(record, [run for run in judged if run.about == about], tolerance)
    if not judged:
        yield Comparison(record, None, None, 0, None, NOT_RUN if record.printed else "", "")


def _compare_group(record: PublishedMetric, runs: Sequence[TrainedRun], tolerance: float) -> Comparison:
    about, comparable = runs[0].about, runs[0].comparable
    newest = {run.seed: run for run in sorted(runs, key=lambda run: run.started)}.values()  # a seed counts once
    logged = [value for run in newest if (value := run.metrics.get(record.key)) is not None]
    if not logged:
        return Comparison(record, None, None, 0, None, NOT_RUN, f"{about}, no {record.key} in metrics.json")
    values = [shown(record.key, value) / record.scale for value in logged]
    ours, deviation = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    if record.value is None or not comparable:
        return Comparison(record, ours, deviation, len(values), None, NOT_RUN if record.printed else "", about)
    difference = round((ours - record.value) * record.scale, 6)  # 71.3 - 70.3 is 1
    verdict = REPRODUCED if math.fabs(difference) <= tolerance else DIFFERENT
    return Comparison(record, ours, deviation, len(values), difference, verdict, about)


def unplaced(records: Sequence[PublishedMetric], runs: Sequence[TrainedRun]) -> list[str]:
    """Name the runs that no published metric asks for.

    Args:
        records: published metrics.
        runs: finished runs.
    """
    named = {record.run for record in records if record.run}
    return sorted({run.name for run in runs if not any(map(run.fits, named))})


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Make a table of comparisons for a terminal."""
    table = Table("paper", "table", "row", "metric", title="published metrics and ours", title_justify="left")
    for name in ("published", "ours", "difference, points"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("data")
    for c in comparisons:
        difference = "" if c.difference is None else f"{c.difference:+.2f}"
        cells = [c.record.paper, c.record.table, c.record.row, c.record.metric, c.record.printed or "–", _ours(c)]
        table.add_row(*map(escape, [*cells, difference, c.verdict, c.data]))
    return table


def _ours(c: Comparison) -> str:
    if c.ours is None:
        return ""
    spread = "" if c.deviation is None else f" ± {c.deviation:.{c.record.decimals}f}, n={c.runs}"
    return f"{c.ours:.{c.record.decimals}f}{spread}"


def write_csv(file: Path, comparisons: Sequence[Comparison]) -> None:
    """Write comparisons as one CSV.

    Args:
        file: to write; behind the terminal's columns stand the standard deviation and the number of runs.
        comparisons: one for each row.
    """
    atomic.write_csv(file, [_row(c) for c in comparisons])


def _row(c: Comparison) -> dict[str, object]:
    ours, difference, deviation = (None if v is None else f"{v:.4f}" for v in (c.ours, c.difference, c.deviation))
    record = dict(zip(("paper", "table", "row", "metric", "published"), c.record, strict=False))
    return {
        **record, "ours": ours, "difference": difference, "verdict": c.verdict, "data": c.data,
        "deviation": deviation, "runs": c.runs,
    }  # fmt: skip
