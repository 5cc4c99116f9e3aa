"""Configs as `run.py` composes them."""

from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"


@cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(EXPERIMENTS), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def composed(*overrides: str) -> DictConfig:
    """The config of the overrides, which a test may change."""
    return _composed(*overrides).copy()
