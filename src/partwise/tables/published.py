"""The metrics that the five papers print.

`experiments/published/PAPER.csv` holds every cell of a paper's results tables and the run that reproduces it; its
README says how the columns read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from partwise.errors import InputError

COLUMNS = ("table", "row", "metric", "value", "run", "key", "note")
RUN = re.compile(r"(?P<experiment>\w+)(@(?P<data>\w+))?(?P<ablations>(\+\w+)*)")
KEY = re.compile(r"(val|test)/[A-Za-z0-9_-]+")
FRACTION_PAPERS = ("self_supervised",)  # the others print percent


class PublishedMetric(NamedTuple):
    """A cell of a paper's table.

    Attributes:
        paper: name of its CSV.
        table: number of the table in the paper.
        row: the method, as printed.
        metric: the column, as printed.
        printed: the number; empty for a dash or an unreadable one.
        run: what reproduces it, EXPERIMENT[@DATA][+ABLATION...]; empty if nothing does.
        key: of metrics.json, SPLIT/NAME; empty if there is none.
        note: on misprints and the like; mostly empty.
    """

    paper: str
    table: str
    row: str
    metric: str
    printed: str
    run: str
    key: str
    note: str

    @property
    def value(self) -> float | None:
        """Return the metric in the paper's own unit, None where nothing is printed."""
        return float(self.printed) if self.printed else None

    @property
    def scale(self) -> float:
        """Return the factor that makes percent of the printed metric."""
        return 100.0 if self.paper in FRACTION_PAPERS else 1.0

    @property
    def decimals(self) -> int:
        """Return the number of digits that metrics beside this one are shown with."""
        return 3 if self.paper in FRACTION_PAPERS else 2


def read_published(folder: str | Path) -> list[PublishedMetric]:
    """Read every metric of the papers, in the papers' order.

    Args:
        folder: of the CSVs, one for each paper.

    Raises:
        InputError: there are no CSVs, or a row is not well-formed.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise InputError(f"{folder} holds no CSVs of published metrics; it should be experiments/published")
    return [record for file in files for record in _read(file)]


def _read(file: Path) -> Iterator[PublishedMetric]:
    try:
        rows = csv.reader(io.StringIO(file.read_bytes().decode()), strict=True)
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            raise InputError(f"{file}: the columns are {','.join(header)}; they should be {','.join(COLUMNS)}")
        for row in rows:
            if len(row) != len(COLUMNS):
                raise InputError(f"{file}, line {rows.line_num}: {len(row)} cells instead of {len(COLUMNS)}")
            yield _checked(PublishedMetric(file.stem, *row), f"{file}, line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as CSV ({error})") from error


def _checked(record: PublishedMetric, where: str) -> PublishedMetric:
    if not (record.table and record.row and record.metric):
        raise InputError(f"{where}: table, row and metric must be given")
    if not re.fullmatch(r"(-?\d+(\.\d+)?)?", record.printed):
        raise InputError(f"{where}: value {record.printed!r} is neither a number nor empty")
    if record.run and not RUN.fullmatch(record.run):
        raise InputError(f"{where}: run {record.run!r} is not EXPERIMENT[@DATA][+ABLATION...]")
    if record.key and not KEY.fullmatch(record.key):
        raise InputError(f"{where}: key {record.key!r} is not SPLIT/NAME as in metrics.json")
    return record


def select(records: Sequence[PublishedMetric], paper: str | None, table: str | None) -> list[PublishedMetric]:
    """Choose the metrics of one paper, of one table, or both.

    Args:
        records: published metrics.
        paper: name of a paper; None takes all.
        table: number of a table; None takes all.

    Raises:
        InputError: there is no such paper or table.
    """
    papers = dict.fromkeys(record.paper for record in records)
    if paper is not None and paper not in papers:
        raise InputError(f"paper {paper!r} is not one of {', '.join(papers)}")
    chosen = [record for record in records if paper in (None, record.paper)]
    tables = dict.fromkeys(record.table for record in chosen)
    if table is not None and table not in tables:
        raise InputError(f"table {table!r} is not one of {', '.join(tables)}")
    return [record for record in chosen if table in (None, record.table)]
