"""Folders that belong to one process at a time: the system's lock on a file in them, and a note on who holds it.

A process that ends in whatever way loses its locks, so there are none to clean up. On network folders the lock counts
on all hosts that mount them, as NFS and Lustre pass `flock` on. Where they do not, the file's being there is the lock;
a crash on another host leaves such a file behind, which is why it is second choice.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from partwise.errors import InputError
from partwise.io.atomic import writing

FILE = ".lock"
MOMENT = 0.5  # seconds; others may look whether a lock is free
ORPHANS = 10  # seconds; loader processes outlive a killed parent by half of that
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Held(InputError):
    """A folder that another process holds.

    Args:
        folder: the folder.
        by: who holds it, such as "process 123 on some_host".
    """

    def __init__(self, folder: Path, by: str) -> None:
        super().__init__(f"{folder} is in use by {by}; wait until that ends, or stop it")
        self.by = by


def hold(folder: Path, name: str = FILE, waits: Callable[[str], None] | None = None) -> BaseFileLock:
    """Hold a folder until the lock is released, is no longer referred to, or the process ends.

    Args:
        folder: that exists.
        name: of the lock's file in it.
        waits: is told who holds the folder, and it is waited for; None refuses a folder that is held.

    Returns:
        The lock.

    Raises:
        Held: another process holds the folder.
        InputError: the folder cannot be written.
    """
    with writing(folder):
        try:
            return _taken(folder, name, waits)
        except Timeout as error:
            if not any(folder.glob(f"{name}*")):  # nobody can, as in /proc
                raise FileNotFoundError(errno.ENOENT, "no file can be made there") from error
            raise Held(folder, _note(folder / name)) from error


def holder(folder: Path) -> str | None:
    """Return who holds a folder, such as "process 123 on some_host", None if nobody does.

    Args:
        folder: to look at.
    """
    if not (folder / FILE).exists():
        return None
    try:
        hold(folder).release()
    except Held as held:
        return held.by
    return None


def _taken(folder: Path, name: str, waits: Callable[[str], None] | None) -> BaseFileLock:
    lock: BaseFileLock = FileLock(folder / name, thread_local=False)
    try:
        try:
            lock.acquire(timeout=MOMENT)
        except OSError as error:
            if error.errno not in UNSUPPORTED:  # that it is held included
                raise
            lock = SoftFileLock(folder / f"{name}-soft", thread_local=False)
            lock.acquire(timeout=MOMENT)
    except Timeout:
        if waits is not None:
            waits(_note(folder / name))
        elif not _is_gone(folder / name):
            raise
        lock.acquire(timeout=ORPHANS if waits is None else -1)
    with suppress(OSError):  # it serves messages alone
        (folder / name).write_text(f"{os.getpid()}\n{platform.node()}\n")  # as filelock's own note in a SoftFileLock
    return lock


def _read(file: Path) -> tuple[int, str] | None:
    with suppress(OSError, ValueError, IndexError):
        pid, host = file.read_text().splitlines()[:2]
        return int(pid), host
    return None


def _note(file: Path) -> str:
    known = _read(file)
    return f"process {known[0]} on {known[1]}" if known else "another process"


def _is_gone(file: Path) -> bool:
    """Whether who wrote the note has ended on this host, so that only processes that it started keep the lock."""
    known = _read(file)
    if known is None or known[1] != platform.node():
        return False
    try:
        os.kill(known[0], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
