"""Composed configs as plain containers, the overrides behind them, and where two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def overrides() -> list[str]:
    """Return the overrides of the command line."""
    return list(HydraConfig.get().overrides.task)


def plain(cfg: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Convert a config into plain containers.

    Args:
        cfg: any config.
        resolve: replace interpolations by their values.
    """
    return OmegaConf.to_container(cfg, resolve=resolve)  # type: ignore[return-value]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """List the dotted keys that two configs both have with different values.

    Args:
        before: config in plain containers.
        after: the other one.

    Returns:
        Lines "key before → after", in the order of `after`.
    """
    old, new = _flat(before), _flat(after)
    return [f"{key} {old[key]} → {new[key]}" for key in new if key in old and new[key] != old[key]]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
