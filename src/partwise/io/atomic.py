"""Whole files or nothing: every file is written to a temporary name and renamed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av

from partwise.errors import InputError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same folder and suffix; rename it to `path` on success, else remove it.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}{path.suffix}")  # hidden: listings leave it out
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with writing(path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with atomic(path) as temporary, writing(path):
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON; NaN and infinities are refused because other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """A full disk or a read-only folder is the user's to mend, not a defect."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"cannot write {path} ({reason(error)}); free some space or name another folder") from error


def reason(error: Exception) -> str:
    """What the system says is wrong, in a few words."""
    return getattr(error, "strerror", None) or str(error)
