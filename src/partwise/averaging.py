"""The exponential moving average of the weights, which a run scores and keeps in their place."""

from __future__ import annotations

from functools import partial

from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


def exponential_average(decay: float) -> WeightAveraging:
    """Average weights and buffers after every step: average <- d average + (1 - d) weights.

    d starts at 0.1 and grows to `decay`, min(decay, (1 + n) / (10 + n)) after n updates, so that the random start
    is soon forgotten.
    """
    return WeightAveraging(avg_fn=partial(_average, decay))


def _average(decay: float, average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
    n = float(updates)
    return average + (current - average) * (1 - min(decay, (1 + n) / (10 + n)))
