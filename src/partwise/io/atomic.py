"""Atomic writing: every file is written under a temporary name and renamed, so that it is whole or absent."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import av

from partwise.errors import InputError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` on success and removed on failure.

    Args:
        path: file to write; missing folders are made.

    Yields:
        path in the same folder, with the same suffix.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{secrets.token_hex(6)}{path.suffix}")  # hidden, so that listings omit it
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with writing(path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # it was renamed, or never made
            temporary.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically.

    Args:
        path: file to write; missing folders are made.
        content: its content.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic(path) as temporary, writing(path):
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically.

    Args:
        path: file to write; missing folders are made.
        text: its content.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically.

    Args:
        path: file to write; missing folders are made.
        value: plain containers and values. NaN and infinities are refused, as other readers refuse them.

    Raises:
        InputError: the file cannot be written.
        ValueError: `value` holds NaN or an infinity.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))  # names of files need not be Unicode


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table as CSV atomically: a header of all rows' columns, then the rows.

    Args:
        path: file to write; missing folders are made.
        rows: values by column; a column that a row lacks is left empty.

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


@contextmanager
def json_array(path: Path) -> Iterator[Callable[[Any], None]]:
    """Write a JSON array row by row.

    Args:
        path: file to write; it appears under its name once the array is complete.

    Yields:
        the function that appends a row.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic(path) as temporary, ExitStack() as stack:
        with writing(path):
            file = stack.enter_context(temporary.open("w", encoding="utf-8", errors="backslashreplace"))
        separator = "[\n"

        def append(row: Any) -> None:
            nonlocal separator
            with writing(path):
                file.write(separator + json.dumps(row, ensure_ascii=False, allow_nan=False))
            separator = ",\n"

        yield append
        with writing(path):
            file.write("[]\n" if separator == "[\n" else "\n]\n")
            file.close()


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn the system's errors into InputError: a full disk or a read-only folder is the user's to correct.

    Args:
        path: what is written, named in the message.

    Raises:
        InputError: the block raised an error of the system.
    """
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"cannot write {path} ({reason(error)}); free some space or name another folder") from error


def reason(error: Exception) -> str:
    """Describe an error of the system in a few words."""
    return getattr(error, "strerror", None) or str(error)
