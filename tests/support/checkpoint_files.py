"""What two checkpoints differ in."""

from typing import Any

from commands import script

_soak = script("scripts/soak.py")

#: What a resumed run begins anew, without effect on anything.
UNLOADED = ("epoch_loop.val_loop.batch_progress", "current_score")


def differences(one: Any, two: Any) -> list[str]:
    """List the places in which two checkpoints differ."""
    return [place for place in _soak.differences(one, two) if not any(f".{name}" in place for name in UNLOADED)]
