"""Note in the cache folder what took long to find out about files; a note holds until one of the files changes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from data_modules.loading.cache import cache_folder
from partwise.arrays import AnyArray, UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import atomic

Arrays = dict[str, AnyArray]

#: Raise it whenever any reader notes something else: older notes are then left alone.
_VERSION = 2

#: What is found out sooner, in seconds, is not worth a file.
_WORTH = 1.0
#: A file of more bytes than this takes so long to read that something should be seen meanwhile.
_LARGE = 50_000_000


class Note:
    """A note on files as they are now.

    Args:
        kind: name of what is noted.
        files: those that it is about; they need not exist.
        about: everything else that it depends on, in plain containers.
    """

    def __init__(self, kind: str, files: Sequence[Path], **about: Any) -> None:
        names = [os.fsdecode(os.path.abspath(file)) for file in files]
        self._key = f"{kind}-{_digest([_VERSION, names, about])}"
        self._state = _digest([_state(file) for file in files])

    def read(self) -> Arrays | None:
        """Return the noted arrays; None if there are none, the files have changed since, or the note is damaged."""
        try:
            with np.load(self._file(), allow_pickle=False) as note:
                arrays = {name: note[name] for name in note.files if name != "of"}
                return arrays if note["of"].item() == _digest([self._state, sorted(arrays)]) else None
        except Exception:  # there is no telling what a damaged file makes numpy raise
            return None

    def write(self, arrays: Arrays) -> None:
        """Note arrays, if the cache folder can be written to; otherwise the next run computes them anew."""
        with suppress(InputError, OSError, RuntimeError), atomic(self._file()) as temporary:
            np.savez(temporary, **{"of": np.array(_digest([self._state, sorted(arrays)])), **arrays})  # type: ignore

    def _file(self) -> Path:
        return cache_folder() / "notes" / f"{self._key}.npz"


def noted(kind: str, files: Sequence[Path], find_out: Callable[[], Arrays], **about: Any) -> Arrays:
    """Return the noted arrays about files, computed and noted now if there is no note.

    Args:
        kind: name of what is noted.
        files: those that it is about.
        find_out: computes the arrays.
        about: everything else that they depend on, in plain containers.

    Returns:
        Arrays by name.
    """
    note = Note(kind, files, **about)
    known = note.read()
    if known is not None:
        return known
    begin = time.monotonic()
    with _announced(files):
        arrays = find_out()
    if time.monotonic() - begin > _WORTH:
        note.write(arrays)
    return arrays


def packed(value: Any) -> UInt8Array:
    """Encode plain containers as the bytes (n,) of their json."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def unpacked(array: UInt8Array) -> Any:
    """Decode the output of `packed`."""
    return json.loads(array.tobytes())


def _announced(files: Sequence[Path]) -> Any:
    if len(files) == 1 and files[0].stat().st_size > _LARGE:
        size = f"{files[0].stat().st_size / 1e6:.0f} MB"
        return Console(stderr=True).status(f"indexing {files[0].name}, {size}: once, until the file changes")
    return nullcontext()


def _state(file: Path) -> list[int]:
    try:
        about = file.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
