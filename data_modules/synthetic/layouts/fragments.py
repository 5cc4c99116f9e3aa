"""Collect what parallel jobs report for the one file that describes them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_FOLDER = ".fragments"


def leave(root: Path, number: int, value: Any) -> None:
    """Keep the report of a job.

    Args:
        root: folder of the layout.
        number: of the job.
        value: plain containers.
    """
    file = root / _FOLDER / f"{number:08d}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def collect(root: Path) -> list[Any]:
    """Return the reports of all jobs in the order of their numbers, and remove them from the folder."""
    files = sorted((root / _FOLDER).glob("*.json"))
    values = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    shutil.rmtree(root / _FOLDER, ignore_errors=True)
    return values
