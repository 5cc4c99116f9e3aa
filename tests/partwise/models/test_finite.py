"""Losses are looked at when they have arrived, and one that is not finite stops the training wherever it waits."""

import json

import pytest
import torch

from partwise.errors import InputError
from partwise.models import finite
from partwise.models.finite import LossWatch


class Arrival:
    """What a GPU's event says of a copy that is under way."""

    def __init__(self):
        self.there, self.waited = False, False

    def query(self):
        return self.there

    def synchronize(self):
        self.there = self.waited = True


@pytest.fixture
def arrivals(monkeypatch):
    """Those of the steps that were added, in order."""
    made = []

    def later(values):
        made.append(Arrival())
        return values, made[-1]

    monkeypatch.setattr(finite, "_to_host", later)
    return made


def add(watch, number, value):
    watch.add(number, {"parsing": torch.tensor(1.0), "box": torch.tensor(value)}, [f"sample{number}"])


def test_losses_on_their_way_are_not_waited_for_and_are_named_when_they_are_there(arrivals, tmp_path):
    watch = LossWatch()
    for number, value in enumerate([1.0, float("nan"), 3.0]):
        add(watch, number, value)
        watch.check(tmp_path)
    assert watch.latest is None
    arrivals[0].there = True
    watch.check(tmp_path)
    assert watch.latest == 2.0
    arrivals[1].there = True
    with pytest.raises(InputError, match="loss box is not finite at step 1"):
        watch.check(tmp_path)
    assert json.loads((tmp_path / "not_finite.json").read_text())["sample_ids"] == ["sample1"]
    assert not any(arrival.waited for arrival in arrivals)


def test_they_are_waited_for_where_it_matters(arrivals, tmp_path):
    watch = LossWatch()
    add(watch, 7, float("inf"))
    with pytest.raises(InputError, match="loss box is not finite at step 7"):
        watch.check(tmp_path, wait=True)


def test_those_of_a_cpu_are_there_at_once(tmp_path):
    watch = LossWatch()
    add(watch, 0, 2.0)
    watch.check(tmp_path)
    assert watch.latest == 3.0
    add(watch, 1, float("nan"))
    with pytest.raises(InputError):
        watch.check(tmp_path)
