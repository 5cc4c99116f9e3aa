"""run.json, in which a run records what it is and how far it has come; a run's folder is found by it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from partwise.errors import InputError
from partwise.io.json_file import Misfit, read_json

Record: TypeAlias = dict[str, Any]

UNFINISHED = ("running", "interrupted")  # statuses of a run that can go on; a killed one still says running


def find(folder: Path, pattern: str, **facts: Any) -> dict[Path, Record]:
    """Find runs that recorded certain facts.

    Args:
        folder: where to look.
        pattern: of the runs' folders, relative to `folder`; "**" for any depth.
        facts: that run.json must hold, by name; a tuple names several values, one of which it holds.

    Returns:
        What each run recorded, by its folder, in the order of the folders' names: of one experiment, the newest last.
        Folders whose run.json cannot be read are named and left out.
    """
    wanted = {name: value if isinstance(value, tuple) else (value,) for name, value in facts.items()}
    found = {}
    for file in sorted(folder.glob(f"{pattern}/run.json")):
        with passed_over(file.parent):
            record = read(file)
            if all(record.get(name) in choices for name, choices in wanted.items()):
                found[file.parent] = record
    return found


@contextmanager
def passed_over(folder: Path) -> Iterator[None]:
    """Name a run's folder whose files cannot be read, once, and go on: one run's damage is no other's.

    Args:
        folder: that the block reads.
    """
    try:
        yield
    except InputError as error:
        _say(f"warning: {folder} is passed over: {error}")


@cache
def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read(file: Path) -> Record:
    """Read a file that holds one JSON object, such as run.json or metrics.json.

    Args:
        file: to read.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        return read_json(file, Record)
    except Misfit as misfit:
        raise InputError(f"{file} holds no JSON object: it {misfit.says}") from misfit
