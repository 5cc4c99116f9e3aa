"""Which parameters of a network train how: their weight decay and their share of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from partwise.errors import InputError


class Group(NamedTuple):
    """Parameters that train alike."""

    rate: float  # factor on the learning rate
    decayed: bool
    parameters: list[nn.Parameter]

    def options(self) -> dict[str, Any]:
        """Return the group as an optimiser takes it; its rate is up to the schedule."""
        return {"params": self.parameters, **({} if self.decayed else {"weight_decay": 0.0})}


def group_parameters(network: nn.Module, rates: Mapping[str, float], bias_rate: float) -> list[Group]:
    """Group the parameters that train. Weights are decayed, norms and biases never.

    Args:
        network: the parameters' own.
        rates: factors on the learning rate of the network's parts, by their names.
        bias_rate: factor on the learning rate of biases beside that.

    Raises:
        InputError: the network has no such part.
    """
    if unknown := rates.keys() - dict(network.named_modules()):
        raise InputError(f"model.rates: {type(network).__name__} has no part {', '.join(sorted(unknown))}")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for decayed in (True, False):
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and (parameter.ndim > 1) == decayed:
                rate = next((r for part, r in rates.items() if name.startswith(f"{part}.")), 1.0)
                rate *= bias_rate if name.endswith(".bias") else 1.0
                groups.setdefault((rate, decayed), []).append(parameter)
    return [Group(rate, decayed, parameters) for (rate, decayed), parameters in groups.items()]


def rate_factors(
    groups: Iterable[Group], schedule: Callable[[float], float] | None, total: int
) -> list[Callable[[int], float]]:
    """Return each group's factor on the learning rate by step.

    Args:
        groups: of the optimiser.
        schedule: factor of all groups by progress, 0 to 1; None is 1 throughout.
        total: steps of the training.
    """
    return [partial(_factor, schedule, total, group.rate) for group in groups]


def _factor(schedule: Callable[[float], float] | None, total: int, rate: float, step: int) -> float:
    return rate if schedule is None else rate * schedule(min(step / total, 1.0))
