"""Render stand-ins once and keep them in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from partwise.io.atomic import writing

#: Raise it whenever a change makes any stand-in look different: old folders are then left alone.
FORMAT_VERSION = 1


def cache_folder() -> Path:
    """Return the folder named by PARTWISE_CACHE, else ~/.cache/partwise."""
    given = os.environ.get("PARTWISE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "partwise"


def stand_in(layout: str, content: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """Return the folder of a stand-in, which is rendered now if it does not exist yet.

    A folder appears under its final name only when it is complete. If two processes render the same one, the
    second to finish drops its copy.

    Args:
        layout: name of the layout, with which the folder's name begins.
        content: everything that decides the files' content, by name; its digest ends the folder's name.
        write: writes the files into an empty folder.

    Returns:
        A folder below `cache_folder()`.

    Raises:
        InputError: it cannot be written.
    """
    key = json.dumps({"layout": layout, "version": FORMAT_VERSION, **_plain(content)}, sort_keys=True)
    folder = cache_folder() / f"{layout}-v{FORMAT_VERSION}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with ExitStack() as stack:
        stack.enter_context(writing(f"{folder.parent}, which PARTWISE_CACHE names"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent))
        part = Path(temporary) / folder.name
        part.mkdir()
        write(part)
        (part / "stand_in.json").write_text(key + "\n", encoding="utf-8")
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # not lost to another process: a real failure
                raise
    return folder


def _plain(value: Any) -> Any:
    """Containers as json has them."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value
