"""Stand-ins are rendered once and kept in a cache folder."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Raise it whenever a change makes any stand-in look different: old folders are then left alone.
FORMAT_VERSION = 1

#: Parameters of writers that say where and how to write, not what.
_NOT_CONTENT = ("root", "workers")


def cache_folder() -> Path:
    """The folder named by PARTWISE_CACHE, else ~/.cache/partwise."""
    given = os.environ.get("PARTWISE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "partwise"


def stand_in(writer: Callable[..., None], **parameters: Any) -> Path:
    """The folder that holds `writer(folder, **parameters)`, rendered now if it is not there yet.

    A folder appears under its final name only when it is complete. If two processes render the same one, the
    second to finish drops its copy.

    Args:
        writer: writes a layout into an empty folder; named write_LAYOUT.
        parameters: its keyword arguments.
    """
    content = _content(writer, parameters)
    layout = writer.__name__.removeprefix("write_")
    key = json.dumps({"layout": layout, "version": FORMAT_VERSION, **content}, sort_keys=True)
    folder = cache_folder() / f"{layout}-v{FORMAT_VERSION}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        part = Path(temporary) / folder.name
        part.mkdir()
        writer(part, **parameters)
        (part / "stand_in.json").write_text(key + "\n", encoding="utf-8")
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # not lost to another process: a real failure
                raise
    return folder


def _content(writer: Callable[..., None], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters, defaults included, as plain containers."""
    bound = inspect.signature(writer).bind(Path(), **parameters)
    bound.apply_defaults()
    return {name: _plain(value) for name, value in bound.arguments.items() if name not in _NOT_CONTENT}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value
