"""A run's folder `outputs/EXPERIMENT/ID/`: its name, what it records, how it is found again."""

from __future__ import annotations

import datetime
import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console
from yaml import YAMLError

from partwise.errors import InputError
from partwise.io import lock, run_json
from partwise.io.atomic import write_json, writing
from partwise.io.run_json import UNFINISHED

RUN_ID = "PARTWISE_RUN_ID"  # shared with the processes that a DDP run starts


console = Console(width=None if sys.stdout and sys.stdout.isatty() else 120)


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
        lock: by which its first process holds the folder, as long as the run is referred to; None in others.
    """

    folder: Path
    resumed: bool
    lock: BaseFileLock | None = field(default=None, repr=False, compare=False)
    opened: float = field(default_factory=time.monotonic, repr=False, compare=False)  # seconds, of a clock of its own

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
        write_json(self.folder / "run.json", {**self._recorded(), **facts})

    def _recorded(self) -> run_json.Record:
        file = self.folder / "run.json"
        return run_json.read(file) if file.is_file() else {}

    @rank_zero_only
    def end(self, status: str) -> None:
        """Record that the run has come to an end, and the seconds that it took.

        Args:
            status: "finished", or "interrupted"; then its next start's seconds are added.
        """
        before = self._recorded().get("seconds", 0.0)
        self.record(status=status, seconds=round(before + time.monotonic() - self.opened, 1))

    @rank_zero_only
    def say(self, text: Any) -> None:
        """Print text or a table as it is, and append it to log.txt."""
        console.print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))
        with (self.folder / "log.txt").open("a") as log:
            Console(file=log, width=120).print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))


def open_run(outputs: Path, experiment: str, resume: str | None, traits: str) -> Run:
    """Make a run's folder, or find the one to continue, and hold it.

    Args:
        outputs: where run folders lie.
        experiment: name of the experiment.
        resume: None for a new run, "auto" for the newest unfinished one that no process holds (a new one if there is
            none), or an id.
        traits: goes into a new run's name, for example "demo-synthetic".

    Returns:
        The run.

    Raises:
        InputError: there is no run with that id, another process holds it, or the folder cannot be written.
    """
    base = outputs / experiment
    shared = os.environ.get(RUN_ID)
    if shared and os.environ.get("LOCAL_RANK", "0") != "0":  # started by the run's first process, which made it
        return Run(base / shared, resume is not None)
    run = _unfinished(base) if resume == "auto" else _named(base, resume) if resume else None
    run = run or _new(base, traits)
    os.environ[RUN_ID] = run.id
    with writing(run.folder):
        (run.folder / "checkpoints").mkdir(exist_ok=True)
    return run


def saved_config(folder: Path) -> DictConfig:
    """Read the config that a run began with, as its folder records it.

    Args:
        folder: of the run.

    Raises:
        InputError: its config.yaml cannot be read.
    """
    file = folder / "config.yaml"
    try:
        config = OmegaConf.load(file)
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} cannot be read as the config of a run ({type(error).__name__}: {reason})") from error
    if not isinstance(config, DictConfig):
        raise InputError(f"{file} holds no config of a run")
    return config


def _new(base: Path, traits: str) -> Run:
    """A run in a new folder: named by its start and at random, so that no two on any hosts have one id."""
    stamp = f"{datetime.datetime.now():%Y%m%d-%H%M%S-%f}"
    with writing(base):
        base.mkdir(parents=True, exist_ok=True)
        while True:
            folder = base / f"{stamp}-{traits}-{secrets.token_hex(3)}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return Run(folder, resumed=False, lock=lock.hold(folder))


def _named(base: Path, name: str) -> Run:
    known = sorted(folder.name for folder in base.glob("*/"))
    if name not in known:  # a path, such as .., is none
        raise InputError(f"resume={name}: no such run in {base}; the latest are {', '.join(known[-5:]) or 'none'}")
    return Run(base / name, resumed=True, lock=lock.hold(base / name))


def _unfinished(base: Path) -> Run | None:
    """The newest run that no process works on; one that another process just finished is none."""
    for folder in sorted(run_json.find(base, "*", status=UNFINISHED, task="train"), reverse=True):
        with run_json.passed_over(folder):
            saved_config(folder)
            try:
                run = Run(folder, resumed=True, lock=lock.hold(folder))
            except lock.Held as held:
                say = f"resume=auto: passing over {folder}, which {held.by} works on"
                console.print(say, markup=False, highlight=False, soft_wrap=True)
                continue
            if run_json.read(folder / "run.json")["status"] in UNFINISHED:
                return run
    console.print(f"resume=auto: no unfinished run is free in {base}; starting a new one")
    return None
