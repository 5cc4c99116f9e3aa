"""Damaged checkpoints and notes of the cache, which have checksums, and checkpoints that state what cannot be."""

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from mutations import EXAMPLES, REFUSED, altered, attempt, fuzz, limited
from small_networks import build, deeplab_v2

from data_modules.formats import notes
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.labels import LabelSet

NETWORK = {**deeplab_v2(2, width=2, norm=False), "backbone_multiplier": 0.0625}
LABELS = LabelSet("two", ("background", "person"))


@pytest.fixture
def content():
    weights = {f"network.{name}": value for name, value in build(NETWORK).state_dict().items()}
    about = {"experiment": "some", "network": NETWORK, "label_set": LABELS.state(), "image_size": [57, 33]}
    return {"state_dict": weights, KEY: about, "epoch": 1, "global_step": 7, "pytorch-lightning_version": "2.6.4"}


def test_checkpoints(content, tmp_path):
    content["state_dict"] = dict(list(content["state_dict"].items())[-2:])
    torch.save(content, tmp_path / "last.ckpt")
    fuzz(load, tmp_path / "last.ckpt", verified=True)


def test_checkpoints_of_other_values(content, tmp_path):
    file = tmp_path / "last.ckpt"

    @limited(EXAMPLES // 2)
    @given(altered(content))
    def check(changed):
        try:
            torch.save(changed, file)
        except Exception:  # what torch cannot write
            reject()
        checkpoint = attempt(lambda: load(file))
        if checkpoint is not REFUSED:
            attempt(lambda: build_network(checkpoint, file))

    check()


def test_notes_of_the_cache(tmp_path, monkeypatch):
    """A damaged note is none."""
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(notes, "_WORTH", -1.0)
    arrays = {"a": np.arange(5), "b": notes.packed({"names": ["x", "y"]})}
    found = lambda: notes.noted("some", [], lambda: arrays)  # noqa: E731
    found()
    (file,) = tmp_path.rglob("*.npz")
    fuzz(lambda file: found(), file, verified=True)
