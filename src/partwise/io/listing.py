"""Finding the files of a folder: hidden files and those of the system are left out, and what is left out is said."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_only

from partwise.errors import InputError
from partwise.io.atomic import reason

#: Files and folders that systems put beside the user's, in lower case. Others of their kind begin with a dot.
_SYSTEMS = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})


def list_files(folder: Path, suffixes: Sequence[str], *, deep: bool = True, told: bool = True) -> list[Path]:
    """List the files of some kinds in a folder.

    Links to files and folders are followed, a link to a folder that it lies in is not.

    Args:
        folder: to search.
        suffixes: of the files, in lower case; files may have them in any case.
        deep: search the folders in it too.
        told: warn of what is left out, once for each folder.

    Returns:
        Paths that begin with `folder`, sorted.

    Raises:
        InputError: a folder cannot be read.
    """
    found: list[Path] = []
    left_out: dict[str, list[Path]] = defaultdict(list)
    for path, kind in _walk(folder, deep, frozenset()):
        if not kind and path.suffix.lower() in suffixes:
            found.append(path)
        else:
            left_out[kind or path.suffix.lower() or "without a suffix"].append(path)
    if left_out and told:
        number = sum(map(len, left_out.values()))
        kinds = ", ".join(f"{len(p)} {kind} (such as {p[0].relative_to(folder)})" for kind, p in left_out.items())
        warn_once(f"{folder}: {number} left out: {kinds}")
    return sorted(found)


def hidden(name: str) -> bool:
    """Check whether a file or folder is hidden or a system's own, such as macOS's ._ copies and Thumbs.db."""
    return name.startswith(".") or name.lower() in _SYSTEMS


@cache
def warn_once(text: str) -> None:
    """Warn in one line, unless this process has done so before, or another one of the training does."""
    if getattr(rank_zero_only, "rank", 0) == 0:
        print("warning:", " ".join(printable(text).split()), file=sys.stderr)


def printable(text: object) -> str:
    """Return a text that every terminal takes: names of files need not be Unicode."""
    return str(text).encode(errors="backslashreplace").decode()


def _walk(folder: Path, deep: bool, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
    """Yield files with an empty text, and what is not to be read with its kind."""
    real = os.path.realpath(folder)
    if real in above:
        yield folder, "link to a folder above it"
        return
    try:
        children = sorted(os.scandir(folder), key=lambda child: child.name)
    except OSError as error:
        raise InputError(f"cannot read {folder} ({reason(error)}); check the path and its permissions") from error
    for child in children:
        path = folder / child.name
        if hidden(child.name):
            yield path, "hidden"
        elif _leads_to(path, child, "is_file"):
            yield path, ""
        elif not _leads_to(path, child, "is_dir"):
            yield path, "broken link" if child.is_symlink() else "no file"
        elif deep:
            yield from _walk(path, deep, above | {real})
        else:
            yield path, "folder"


def _leads_to(path: Path, child: os.DirEntry[str], kind: str) -> bool:
    """Check a folder's entry; the system is asked about links only, which may lead nowhere."""
    answer: bool = getattr(path if child.is_symlink() else child, kind)()
    return answer
