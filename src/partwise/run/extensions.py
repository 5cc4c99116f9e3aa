"""What a config adds to a training by `_target_`: callbacks and loggers, the user's own included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from partwise.errors import InputError


def make_all(entries: Mapping[str, Any], group: str, kind: type) -> list[Any]:
    """Instantiate the entries of a config group in their order, without those that are null.

    Args:
        entries: each with a `_target_`, by name.
        group: key of the group in the config, for messages.
        kind: class that every entry must be an instance of.

    Raises:
        InputError: an entry is not of that class.
    """
    return [_make(entry, f"{group}.{name}", kind) for name, entry in entries.items() if entry is not None]


def _make(entry: Any, key: str, kind: type) -> Any:
    made = instantiate(entry, _convert_="all") if isinstance(entry, DictConfig) else entry
    if not isinstance(made, kind):
        wanted = f"pytorch_lightning's {kind.__name__}"
        raise InputError(f"{key} is of type {type(made).__name__}, not {wanted}: let its _target_ name one")
    return made
