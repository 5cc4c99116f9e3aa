"""What two checkpoints differ in."""

from __future__ import annotations

from typing import Any

import torch

#: What a resumed run begins anew, without effect on anything.
UNLOADED = {"epoch_loop.val_loop.batch_progress", "current_score"}


def differences(one: Any, two: Any, at: str = "") -> list[str]:
    """List the places in which two checkpoints differ.

    Args:
        one: content of a checkpoint, or part of it.
        two: of the other.
        at: place of that part.
    """
    if isinstance(one, dict) and isinstance(two, dict):
        keys = [key for key in {**one, **two} if key not in one or key not in two]
        both = one.keys() & two.keys() - UNLOADED
        return [f"{at}.{key}" for key in keys] + [
            found for key in both for found in differences(one[key], two[key], f"{at}.{key}")
        ]
    if isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        pairs = enumerate(zip(one, two, strict=True))
        return [found for n, (a, b) in pairs for found in differences(a, b, f"{at}.{n}")]
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return [] if torch.equal(one, two) else [at]
    return [] if type(one) is type(two) and one == two else [f"{at} {one} {two}"]
