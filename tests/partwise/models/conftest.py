"""Experiments without their data: configs as `run.py` composes them, and batches of random pictures."""

import composing
import pytest
import small_networks


@pytest.fixture(scope="session")
def composed():
    """From the name of an experiment, and overrides, to its config: two samples a batch, no pre-trained weights."""

    def made(name, *overrides):
        cfg = composing.composed(f"experiment={name}", "data.batch_size=2", "init=[]", *overrides)
        small_networks.set_everywhere(cfg.model.network, pretrained=False)
        return cfg

    return made


@pytest.fixture(scope="session")
def random_batch():
    """The benchmarks' `random_batch`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(composing.ROOT / "scripts"))
        from benchmarks.random_batches import random_batch as make

        yield make
