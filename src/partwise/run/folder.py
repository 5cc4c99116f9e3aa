"""A run's folder `outputs/EXPERIMENT/ID/`: its name, what it records, how it is found again."""

from __future__ import annotations

import datetime
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from partwise.errors import InputError
from partwise.io import run_json
from partwise.io.atomic import write_json

RUN_ID = "PARTWISE_RUN_ID"  # shared with the processes that a DDP run starts
UNFINISHED = ("running", "interrupted")  # statuses of a run that can go on; killed ones still say running


console = Console(width=None if sys.stdout.isatty() else 120)


def is_first() -> bool:
    """Tell whether this is the process that writes files and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0


def origin(synthetic: bool) -> str:
    """Return where data come from: synthetic or real."""
    return "synthetic" if synthetic else "real"


@dataclass(frozen=True)
class Run:
    """A run's folder `outputs/EXPERIMENT/ID/`.

    Attributes:
        folder: the folder.
        resumed: whether the run goes on from an earlier start.
    """

    folder: Path
    resumed: bool

    @property
    def id(self) -> str:
        """Return the name of the folder, unique among the experiment's runs."""
        return self.folder.name

    @property
    def last(self) -> Path:
        """Return the checkpoint that a resumed run continues from, and in the end the trained network."""
        return self.folder / "checkpoints" / "last.ckpt"

    def about(self, synthetic: bool) -> dict[str, str]:
        """Return the config's `run`, which callbacks and loggers refer to.

        Args:
            synthetic: whether the run's data are synthetic.
        """
        return {"folder": str(self.folder), "id": self.id, "data": origin(synthetic)}

    @property
    def checkpoint(self) -> Path | None:
        """Return `last` if training should continue from it."""
        return self.last if self.resumed and self.last.is_file() else None

    @rank_zero_only
    def record(self, **facts: Any) -> None:
        """Add facts to run.json.

        Args:
            facts: JSON values by name; they replace earlier ones.
        """
        file = self.folder / "run.json"
        write_json(file, {**(run_json.read(file) if file.is_file() else {}), **facts})

    @rank_zero_only
    def say(self, text: Any) -> None:
        """Print text or a table as it is, and append it to log.txt."""
        console.print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))
        with (self.folder / "log.txt").open("a") as log:
            Console(file=log, width=120).print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))


def open_run(outputs: Path, experiment: str, resume: str | None, traits: str) -> Run:
    """Make a run's folder, or find the one to continue.

    Args:
        outputs: where run folders lie.
        experiment: name of the experiment.
        resume: None for a new run, "auto" for the newest unfinished one (a new one if there is none), or an id.
        traits: goes into a new run's name, for example "demo-synthetic".

    Returns:
        The run.

    Raises:
        InputError: there is no run with that id.
    """
    base = outputs / experiment
    shared = os.environ.get(RUN_ID)
    if shared and os.environ.get("LOCAL_RANK", "0") != "0":  # started by the run's first process, which made it
        return Run(base / shared, resume is not None)
    folder = _unfinished(base, resume) if resume else None
    resumed = folder is not None
    if folder is None:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = base / f"{stamp}-{traits}"
        while folder.exists():  # two runs within a second
            folder = folder.with_name(folder.name + "-2")
        (folder / "checkpoints").mkdir(parents=True)
    os.environ[RUN_ID] = folder.name
    return Run(folder, resumed)


def _unfinished(base: Path, resume: str) -> Path | None:
    if resume != "auto":
        if not (base / resume).is_dir():
            found = ", ".join(sorted(p.name for p in base.glob("*/"))[-5:]) or "none"
            raise InputError(f"resume={resume}: no such run in {base}; the latest are {found}")
        return base / resume
    runs = run_json.find(base, "*", task="train")
    newest = max((place for place, known in runs.items() if known.get("status") in UNFINISHED), default=None)
    if newest is None:
        console.print(f"resume=auto: no unfinished run in {base}; starting a new one")
    return newest
