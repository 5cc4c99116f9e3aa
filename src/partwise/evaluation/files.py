"""Find and read label maps, and work on many of them at once, as all protocols do.

Nothing here imports torch, so that protocols that need none start at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from partwise.arrays import IntArray, UInt8Array
from partwise.errors import InputError
from partwise.io.images import check_size, read_labels
from partwise.io.listing import list_files
from partwise.labels import LabelSet

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Images that take as long as starting a process.
_WORTH_A_PROCESS = 50

#: Folders of pictures for people that lie beside the maps.
_PICTURES = frozenset({"color"})


def label_files(folder: Path, what: str) -> dict[str, Path]:
    """Find all PNGs below a folder.

    Args:
        folder: searched at any depth; hidden files and folders of coloured pictures are left out.
        what: the maps' role, named in messages.

    Returns:
        Files by their relative names, in order.

    Raises:
        InputError: there is no such folder, or no PNG in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} ({what}) is not a folder; name the folder with its label PNGs")
    found = list_files(folder, [".png"], told=False)  # a map too many or too few is an error
    files = {file.relative_to(folder).as_posix(): file for file in found}
    files = {name: file for name, file in files.items() if _PICTURES.isdisjoint(name.split("/")[:-1])}
    if not files:
        raise InputError(f"{folder} ({what}) holds no PNG; it should hold one label map an image")
    return files


def paired(truths: dict[str, Path], preds: dict[str, Path], folder: Path) -> list[tuple[Path, Path]]:
    """Pair the ground truth and the prediction of every image.

    Args:
        truths: maps by name.
        preds: maps by the same names.
        folder: of the predictions, named in messages.

    Returns:
        True and predicted map of each, in the order of `truths`.

    Raises:
        InputError: a map has no counterpart.
    """
    for name in truths:
        if name not in preds:
            raise InputError(f"{folder / name} is missing; every image of the ground truth needs a prediction")
    for name, file in preds.items():
        if name not in truths:
            raise InputError(f"{file} has no ground truth; remove it, or check that both folders are of one split")
    return [(truths[name], preds[name]) for name in truths]


def read_parts(file: Path, label_set: LabelSet, like: IntArray | None = None) -> UInt8Array:
    """Read a part map, and check it.

    Args:
        file: the PNG.
        label_set: that its labels belong to; 255 is allowed too.
        like: a map whose size it must have.

    Returns:
        (H, W).

    Raises:
        InputError: it cannot be read, holds another label, or has another size.
    """
    parts = read_labels(file)
    if like is not None:
        check_size(parts, like.shape, file, "its ground truth")
    label_set.check(parts, file)
    return parts


def each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None,
    title: str,
    threads: bool = False,
) -> Iterator[Result]:
    """Work on every item, in several processes if they pay, under a progress bar.

    Args:
        work: a function of a module, or a partial of one (processes find it by name).
        items: what it is called with.
        workers: processes at most; None takes one a core, 1 works in this process.
        title: of the bar.
        threads: take threads instead, which start at once; for short work that mostly runs outside the interpreter.

    Returns:
        The results, in the order of the items.
    """
    workers = min(workers or os.cpu_count() or 1, len(items) // _WORTH_A_PROCESS)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if workers <= 1:
            yield from progress.track(map(work, items), total=len(items), description=title)
            return
        pool: Executor = (
            ThreadPoolExecutor(workers) if threads else ProcessPoolExecutor(workers, mp_context=_context(work))
        )
        with pool:
            chunk = max(1, min(16, len(items) // (4 * workers)))
            results = pool.map(work, items, chunksize=chunk)
            yield from progress.track(results, total=len(items), description=title)


def _context(work: Callable[..., Any]) -> BaseContext:
    """Processes that import the work's module once for all of them.

    Not forked from this one: a copy of a process whose OpenMP threads have run waits for them for ever.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(work, "func", work).__module__])
    return context
