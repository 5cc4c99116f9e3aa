"""Experiments without their data: configs as `run.py` composes them, and batches of random pictures."""

from functools import cache
from pathlib import Path

import pytest
import small_networks
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def composed():
    """From the name of an experiment, and overrides, to its config: two samples a batch, no pre-trained weights."""

    @cache
    def made(name, *overrides):
        with initialize_config_dir(str(ROOT / "experiments"), version_base="1.3"):
            cfg = compose("config", overrides=[f"experiment={name}", "data.batch_size=2", "init=[]", *overrides])
        small_networks.set_everywhere(cfg.model.network, pretrained=False)
        return cfg

    return lambda *given: made(*given).copy()


@pytest.fixture(scope="session")
def random_batch():
    """The benchmarks' `random_batch`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        from benchmarks.random_batches import random_batch as make

        yield make
