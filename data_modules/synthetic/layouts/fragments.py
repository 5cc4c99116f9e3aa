"""What parallel jobs leave behind for the one file that describes them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_FOLDER = ".fragments"


def leave(root: Path, number: int, value: Any) -> None:
    """Keep what job `number` has to say, in plain containers."""
    file = root / _FOLDER / f"{number:08d}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def collect(root: Path) -> list[Any]:
    """What all jobs have left, in the order of their numbers; it is removed from the folder."""
    files = sorted((root / _FOLDER).glob("*.json"))
    values = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    shutil.rmtree(root / _FOLDER, ignore_errors=True)
    return values
