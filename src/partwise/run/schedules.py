"""Learning-rate schedules: the factor on the base rate at a progress of 0 (first step) to 1 (behind the last).

Progress rather than steps, so that one line of a config stays right when epochs, batch size or devices change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def steps(
    progress: float,
    *,
    milestones: Sequence[int],
    epochs: int,
    gamma: float = 0.1,
    warmup: float = 0.0,
    first: float = 1 / 3,
) -> float:
    """Multiply the rate by `gamma` at each milestone.

    Args:
        progress: of the training, from 0 to 1.
        milestones: epochs from whose start on the rate is lower.
        epochs: of the whole training.
        gamma: factor.
        warmup: share of the training, from 0 to 1, in which the rate rises linearly from `first` of it.
        first: factor on the rate in the first step of the warm-up.
    """
    epoch = progress * epochs + 1e-6  # a milestone's first step must not fall short of it by rounding
    return _warm(progress, warmup, first) * gamma ** sum(epoch >= milestone for milestone in milestones)


def poly(progress: float, *, power: float = 0.9, warmup: float = 0.0) -> float:
    """Decay as (1 - progress)^power, DeepLab's schedule.

    Args:
        progress: of the training, from 0 to 1.
        power: exponent; 0 keeps the rate fixed.
        warmup: share of the training, from 0 to 1, in which the rate rises linearly to the decay.
    """
    return _warm(progress, warmup) * math.pow(1 - progress, power)


def cosine(progress: float, *, warmup: float = 0.0) -> float:
    """Decay along half a cosine from 1 to 0 (SGDR without restarts).

    Args:
        progress: of the training, from 0 to 1.
        warmup: share of the training, from 0 to 1, in which the rate rises linearly to the decay.
    """
    return _warm(progress, warmup) * 0.5 * (1 + math.cos(math.pi * progress))


def _warm(progress: float, warmup: float, first: float = 0.01) -> float:
    return 1.0 if progress >= warmup else first + (1 - first) * progress / warmup
