"""Where a program makes the host wait for the GPU."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MESSAGE = "called a synchronizing CUDA operation"
_OURS = ("/partwise/", "/data_modules/")


@contextmanager
def synchronisations(device: torch.device) -> Iterator[Counter[str]]:
    """Count the operations within that synchronise, by place in the code; none off CUDA.

    Waits of the backward pass are told at its end, where `backward` is called.
    """
    places: Counter[str] = Counter()
    if device.type != "cuda":
        yield places
        return

    def note(message: Any, *about: Any, **more: Any) -> None:
        if _MESSAGE in str(message):
            places[_place()] += 1

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _place() -> str:
    """The innermost line of code outside this file and, where that is another package's, the project's own above it."""
    frames = [
        f for f in traceback.extract_stack() if f.filename not in (__file__, traceback.__file__, warnings.__file__)
    ]
    own = next((f for f in reversed(frames) if any(folder in f.filename for folder in _OURS)), None)
    chosen = [frames[-1]] if own is None or own is frames[-1] else [frames[-1], own]
    return " < ".join(f"{'/'.join(f.filename.split('/')[-3:])}:{f.lineno} {f.name}" for f in chosen)
