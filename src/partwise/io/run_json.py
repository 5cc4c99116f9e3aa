"""run.json, in which a run records what it is and how far it has come; a run's folder is found by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from partwise.errors import InputError

Record: TypeAlias = dict[str, Any]


def find(folder: Path, pattern: str, **facts: Any) -> dict[Path, Record]:
    """Find runs that recorded certain facts.

    Args:
        folder: where to look.
        pattern: of the runs' folders, relative to `folder`; "**" for any depth.
        facts: that run.json must hold, by name.

    Returns:
        What each run recorded, by its folder, in the order of the folders' names: of one experiment, the newest last.

    Raises:
        InputError: a run.json cannot be read.
    """
    records = {file.parent: read(file) for file in sorted(folder.glob(f"{pattern}/run.json"))}
    return {place: record for place, record in records.items() if facts.items() <= record.items()}


def read(file: Path) -> Record:
    """Read a file that holds one JSON object, such as run.json or metrics.json.

    Args:
        file: to read.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object")
    return content
