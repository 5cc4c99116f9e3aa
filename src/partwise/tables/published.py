"""What the five papers print, and what runs of this suite give for the same cells.

`experiments/published/PAPER.csv` holds every cell of a paper's results tables and the run that reproduces it; its
README says how the columns read. Only what is known to follow a paper's recipe on its data is judged.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape
from rich.table import Table
from yaml import YAMLError

from partwise.errors import InputError
from partwise.io.atomic import write_text

COLUMNS = ("table", "row", "metric", "value", "run", "key", "note")
RUN = re.compile(r"(?P<experiment>\w+)(@(?P<data>\w+))?(?P<ablations>(\+\w+)*)")
KEY = re.compile(r"(val|test)/[A-Za-z0-9_-]+")
FRACTION_PAPERS = ("self_supervised",)  # the others print percent
#: Metrics logged as fractions; all others are logged in percent.
FRACTION_KEYS = re.compile(r"\w+/([JF]_(mean|recall|decay)|A[PR](50|75|M|L|_M|_H)?)")
#: Ablations that name what the experiment does anyway.
RECIPE = frozenset({"full", "l3", "p2", "l_s_c_uf"})
#: Overrides that say where and how often a recipe runs, or that a run's identity holds already.
FREE = re.compile(
    r"experiment|ablation|data|profile|task|seed|ckpt|resume|outputs|stages_in|compile|channels_last|checkpoint_every"
    r"|data\.(root|test_root|num_workers)|roots\.\w+|trainer(\.(accelerator|devices|num_nodes|strategy))?|logger(\..*)?"
)
SYNTHETIC = "synthetic, not comparable"
VERDICTS = REPRODUCED, DIFFERENT, NOT_RUN = ("reproduced", "different", "not run")


class PublishedMetric(NamedTuple):
    """A cell of a paper's table; `run`, `key` and `note` are empty where there is none."""

    paper: str
    table: str
    row: str
    metric: str
    printed: str  # empty: a dash, or unreadable
    run: str  # EXPERIMENT[@DATA][+ABLATION...]
    key: str  # of metrics.json
    note: str

    @property
    def value(self) -> float | None:
        """The metric, in the paper's own unit."""
        return float(self.printed) if self.printed else None

    @property
    def scale(self) -> float:
        """What makes percent of the printed metric."""
        return 100.0 if self.paper in FRACTION_PAPERS else 1.0

    @property
    def decimals(self) -> int:
        """Digits that metrics beside this one are shown with."""
        return 3 if self.paper in FRACTION_PAPERS else 2


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run.

    Attributes:
        experiment: its name.
        data: the dataset's name, lower case without underscores.
        ablations: names without folder, those that name the recipe itself left out.
        changes: other overrides that may matter; None if the run did not record them.
        profile: demo or paper.
        synthetic: whether its data are rendered.
        seed: of its generators.
        started: ISO time.
        metrics: metrics.json.
    """

    experiment: str
    data: str
    ablations: frozenset[str]
    changes: tuple[str, ...] | None
    profile: str
    synthetic: bool
    seed: int
    started: str
    metrics: Mapping[str, float | None]

    @property
    def comparable(self) -> bool:
        """Whether its metrics may be judged beside a paper's."""
        return not self.synthetic and self.profile == "paper" and self.changes is not None

    @property
    def about(self) -> str:
        """Its data, and what else keeps it apart from the paper's run."""
        profile = [] if self.profile == "paper" else [f"{self.profile} profile"]
        changes = ("overrides not recorded",) if self.changes is None else self.changes
        return ", ".join([SYNTHETIC if self.synthetic else "real", *profile, *changes])

    @property
    def name(self) -> str:
        """The run as the CSVs write it."""
        return "+".join([f"{self.experiment}@{self.data}", *sorted(self.ablations)])

    def fits(self, run: str) -> bool:
        """Whether the run is the one that a CSV names; without @DATA, the experiment's name ends in its dataset's."""
        wanted = RUN.fullmatch(run)
        if wanted is None or wanted["experiment"] != self.experiment:
            return False
        if frozenset(wanted["ablations"].split("+")[1:]) - RECIPE != self.ablations:
            return False
        if wanted["data"]:
            return _bare(wanted["data"]) == self.data
        return _bare(self.experiment).endswith(self.data)


class Comparison(NamedTuple):
    """A published metric beside the mean of the runs that reproduce it."""

    record: PublishedMetric
    ours: float | None  # in the paper's unit
    deviation: float | None  # standard deviation over seeds
    runs: int
    difference: float | None  # points of percent
    verdict: str  # empty where the paper gives nothing to judge by
    data: str  # empty without a run


def read_published(folder: str | Path) -> list[PublishedMetric]:
    """Every metric of the papers, in the papers' order.

    Raises:
        InputError: no CSVs, or a row that is not well-formed.
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
    """The metrics of one paper, of one table, or both.

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


def find_runs(folders: Sequence[str | Path]) -> list[TrainedRun]:
    """Finished training runs in folders, at any depth, each once.

    Runs of task=test are left out: their recipe is their checkpoint's, which they do not record.

    Raises:
        InputError: a folder without any, or files of a run that cannot be read.
    """
    found: dict[Path, TrainedRun] = {}
    for folder in map(Path, folders):
        places = [file.resolve().parent for file in sorted(folder.rglob("run.json"))]
        records = {place: _json(place / "run.json") for place in places if (place / "metrics.json").is_file()}
        finished = {p: r for p, r in records.items() if (r.get("status"), r.get("task")) == ("finished", "train")}
        if not finished:
            raise InputError(f"{folder} holds no finished training run (run.json beside metrics.json, at any depth)")
        found |= {place: _run(place, record) for place, record in finished.items() if place not in found}
    return list(found.values())


def _run(folder: Path, record: Mapping[str, Any]) -> TrainedRun:
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        overrides = record.get("overrides")
        return TrainedRun(
            experiment=record["experiment"],
            data=_bare(config["data"]["_target_"].rsplit(".", 1)[-1].removesuffix("DataModule")),
            ablations=_ablations(overrides or []),
            changes=None if overrides is None else tuple(o for o in overrides if not FREE.fullmatch(_key(o))),
            profile=record["profile"],
            synthetic=record["data"] != "real",
            seed=int(record["seed"]),
            started=record["started"],
            metrics={key: None if v is None else float(v) for key, v in _json(folder / "metrics.json").items()},
        )
    except (OSError, YAMLError, OmegaConfBaseException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder} is no folder of a run ({type(error).__name__}: {error})") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object")
    return content


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _ablations(overrides: Sequence[str]) -> frozenset[str]:
    """Names from `ablation=FOLDER/NAME` or `ablation=[FOLDER/NAME,...]`; the last override counts, as in Hydra."""
    values = [override.partition("=")[2] for override in overrides if _key(override) == "ablation"]
    names = values[-1].strip("[]").split(",") if values else []
    return frozenset(name.strip().rsplit("/", 1)[-1] for name in names) - RECIPE - {"", "null"}


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def compare(records: Sequence[PublishedMetric], runs: Sequence[TrainedRun], tolerance: float = 1.0) -> list[Comparison]:
    """Every metric beside its runs: at least one line a metric, one for each set of overrides.

    Runs that cannot be judged are shown only where no other is.

    Args:
        records: published metrics.
        runs: finished runs.
        tolerance: points of percent that a reproduced metric may differ by.
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
    unit = (100.0 if FRACTION_KEYS.fullmatch(record.key) else 1.0) / record.scale
    values = [unit * value for value in logged]
    ours, deviation = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    if record.value is None or not comparable:
        return Comparison(record, ours, deviation, len(values), None, NOT_RUN if record.printed else "", about)
    difference = round((ours - record.value) * record.scale, 6)  # 71.3 - 70.3 is 1
    verdict = REPRODUCED if math.fabs(difference) <= tolerance else DIFFERENT
    return Comparison(record, ours, deviation, len(values), difference, verdict, about)


def unplaced(records: Sequence[PublishedMetric], runs: Sequence[TrainedRun]) -> list[str]:
    """Names of the runs that no published metric asks for."""
    named = {record.run for record in records if record.run}
    return sorted({run.name for run in runs if not any(map(run.fits, named))})


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """The comparisons for a terminal."""
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
    """The comparisons as one CSV; after the terminal's columns, the standard deviation and the number of runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["paper", "table", "row", "metric", "published", "ours", "difference", "verdict", "data", "deviation", "runs"]
    )
    for c in comparisons:
        ours, difference, deviation = ("" if v is None else f"{v:.4f}" for v in (c.ours, c.difference, c.deviation))
        writer.writerow([*c.record[:5], ours, difference, c.verdict, c.data, deviation, c.runs])
    write_text(file, text.getvalue())
