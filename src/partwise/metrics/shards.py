"""Metrics that keep rows per image, so that an image scored twice can be told from two images.

A padded `DistributedSampler` gives some images to two ranks. Sums cannot undo that; rows that remember their
image can. Ranks may hold any number of rows, none included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from partwise.arrays import AnyArray, Int64Array, IntpArray


class ShardMetric(Metric):
    """A metric whose states are lists of tensors, concatenated over updates and then over ranks.

    torchmetrics replaces a list that is still empty by a one-dimensional float32 tensor when it gathers;
    ranks then disagree about shape and type, and the gathering fails or hangs. So every list starts with a
    tensor of no rows that has the right shape and type.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}

    def add_shard(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Declare the state `name`: (rows, *shape) of `dtype`."""
        self.add_state(name, default=[], dist_reduce_fx="cat")
        self._shapes[name] = shape, dtype
        self.append(name, torch.empty((0, *shape), dtype=dtype))

    def append(self, name: str, rows: Tensor | AnyArray) -> None:
        """Append (rows, *shape) to the state `name`."""
        shape, dtype = self._shapes[name]
        tensor = torch.as_tensor(rows).detach().to(self.device, dtype)
        if tensor.shape[1:] != shape:
            raise ValueError(f"{name} holds rows of shape {shape}, not {tuple(tensor.shape[1:])}")
        getattr(self, name).append(tensor)

    def gathered(self, name: str) -> AnyArray:
        """The state `name` as (rows, *shape), of all ranks inside `compute`."""
        rows: AnyArray = dim_zero_cat(getattr(self, name)).cpu().numpy()
        return rows

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        for name, (shape, dtype) in self._shapes.items():
            self.append(name, torch.empty((0, *shape), dtype=dtype))


def first_visits(index: Int64Array) -> IntpArray:
    """Positions of the first row of every image, images ascending.

    Args:
        index: (K,) image of each row.
    """
    return np.unique(index, return_index=True)[1]
