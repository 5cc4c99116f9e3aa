"""Factors on the learning rate of parts of a network."""

import pytest
from torch import nn

from partwise.models.parameters import freeze, group_parameters


def network():
    trunk = nn.ModuleDict({"stem": nn.Linear(2, 2), "layer": nn.Linear(2, 2)})
    return nn.ModuleDict({"trunk": trunk, "trunk_head": nn.Linear(2, 2)})


RATES = {"trunk": 0.0, "trunk.stem": 0.5}


@pytest.mark.parametrize("rates", [RATES, dict(reversed(RATES.items()))], ids=["whole first", "part first"])
def test_a_parts_rate_comes_before_that_of_what_it_lies_in(rates):
    made = network()
    freeze(made, rates)
    trained = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert trained == {"trunk.stem.weight", "trunk.stem.bias", "trunk_head.weight", "trunk_head.bias"}
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    found = {names[id(p)]: group.rate for group in group_parameters(made, rates, 2.0) for p in group.parameters}
    assert found == {"trunk.stem.weight": 0.5, "trunk.stem.bias": 1.0, "trunk_head.weight": 1, "trunk_head.bias": 2}
