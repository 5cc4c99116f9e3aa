"""Parameter groups of the optimiser: weight decay and factor on the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from partwise.errors import InputError


class Group(NamedTuple):
    """Parameters with the same factor on the learning rate and the same weight decay.

    Attributes:
        rate: factor on the learning rate.
        decayed: weight decay applies.
        parameters: the parameters.
    """

    rate: float
    decayed: bool
    parameters: list[nn.Parameter]

    def options(self) -> dict[str, Any]:
        """Return the group in the optimiser's form; the schedule applies its rate."""
        return {"params": self.parameters, **({} if self.decayed else {"weight_decay": 0.0})}


def group_parameters(network: nn.Module, rates: Mapping[str, float], bias_rate: float) -> list[Group]:
    """Group the trainable parameters. Weight decay applies to weights, not to norms and biases.

    Args:
        network: network whose parameters are grouped.
        rates: factors on the learning rate of parts of the network, by the parts' names.
        bias_rate: further factor on the learning rate of biases.

    Returns:
        the groups, those with weight decay first.

    Raises:
        InputError: `rates` names a part that the network does not have.
    """
    if unknown := rates.keys() - dict(network.named_modules()):
        raise InputError(f"model.rates: {type(network).__name__} has no part {', '.join(sorted(unknown))}")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for decayed in (True, False):
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and (parameter.ndim > 1) == decayed:
                rate = _rate(name, rates) * (bias_rate if name.endswith(".bias") else 1.0)
                groups.setdefault((rate, decayed), []).append(parameter)
    return [Group(rate, decayed, parameters) for (rate, decayed), parameters in groups.items()]


def freeze(network: nn.Module, rates: Mapping[str, float]) -> None:
    """Let the parameters of parts whose rate is 0 have no gradient, which saves computing it.

    Args:
        network: whose parameters are frozen.
        rates: factors on the learning rate of parts of the network, by the parts' names.
    """
    for name, parameter in network.named_parameters():
        if _rate(name, rates) == 0:
            parameter.requires_grad_(False)


def _rate(name: str, rates: Mapping[str, float]) -> float:
    """The rate of the smallest part that has the parameter: a part's own rate is before that of what it lies in."""
    parts = [part for part in rates if name.startswith(f"{part}.")]
    return rates[max(parts, key=len)] if parts else 1.0


def rate_factors(
    groups: Iterable[Group], schedule: Callable[[float], float] | None, total: int
) -> list[Callable[[int], float]]:
    """Compute the factor on the learning rate of each group, by step.

    Args:
        groups: groups of the optimiser, in its order.
        schedule: factor of all groups by progress through training, 0 to 1; None is 1 throughout.
        total: number of training steps.

    Returns:
        per group, a function from the step to the factor.
    """
    return [partial(_factor, schedule, total, group.rate) for group in groups]


def _factor(schedule: Callable[[float], float] | None, total: int, rate: float, step: int) -> float:
    return rate if schedule is None else rate * schedule(min(step / max(total, 1), 1.0))
