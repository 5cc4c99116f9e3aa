"""States of rows per image, so that an image scored twice can be told from two images.

A padded `DistributedSampler` gives some images to two ranks. Sums cannot undo that; rows that remember their
image can. Ranks may hold any number of rows, none included.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    Args:
        kwargs: of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}

    def add_shard(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Declare a state.

        Args:
            name: of the state and of the attribute that holds it.
            shape: of a row; the state is (rows, *shape).
            dtype: of the state.
        """
        self.add_state(name, default=[], dist_reduce_fx="cat")
        self._shapes[name] = shape, dtype
        self.append(name, torch.empty((0, *shape), dtype=dtype))

    def append(self, name: str, rows: Tensor | AnyArray) -> None:
        """Append rows to a state.

        Args:
            name: of the state.
            rows: (rows, *shape), of any number of rows.

        Raises:
            ValueError: the rows have another shape than was declared.
        """
        shape, dtype = self._shapes[name]
        tensor = torch.as_tensor(rows).detach().to(self.device, dtype)
        if tensor.shape[1:] != shape:
            raise ValueError(f"{name} holds rows of shape {shape}, not {tuple(tensor.shape[1:])}")
        getattr(self, name).append(tensor)

    def gathered(self, name: str) -> AnyArray:
        """Return the state `name` as (rows, *shape), of all ranks inside `compute`."""
        rows: AnyArray = dim_zero_cat(getattr(self, name)).cpu().numpy()
        return rows

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        for name, (shape, dtype) in self._shapes.items():
            self.append(name, torch.empty((0, *shape), dtype=dtype))


class IndexedRows(ShardMetric):
    """A metric with one row of numbers a sample; a sample counts once however many ranks or updates see it.

    Args:
        shape: of a row.
        dtype: of the rows.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("index", (), torch.int64)
        self.add_shard("rows", shape, dtype)

    def add(self, index: Sequence[int], rows: Tensor) -> None:
        """Append the rows of B samples.

        Args:
            index: position of each sample in its split.
            rows: (B, *shape).
        """
        self.append("rows", rows)
        self.append("index", torch.tensor(list(index)))

    def distinct(self) -> AnyArray:
        """Return the rows (N, *shape) of the N samples seen, by ascending position; of all ranks inside `compute`."""
        return self.gathered("rows")[first_visits(self.gathered("index"))]


def first_visits(index: Int64Array) -> IntpArray:
    """Find the first row of every image.

    Args:
        index: (K,) image of each row.

    Returns:
        (I,) positions of the rows, images ascending.
    """
    return np.unique(index, return_index=True)[1]
