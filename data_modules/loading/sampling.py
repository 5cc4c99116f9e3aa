"""Order the samples. Every draw follows from (seed, epoch, index), and a position can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """A sample to make: its position in the split and the epoch that its randomness follows from."""

    sample: int
    epoch: int


def process() -> tuple[int, int]:
    """Return (rank, world size) of this process; (0, 1) without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class TrainSampler(Sampler[Draw]):
    """Deals a new permutation every epoch to the ranks; the tail is dropped so that all get whole batches.

    A split smaller than one global batch is repeated to fill it. `start` skips the samples of the first epoch
    that a resumed run has already seen, while `len` still counts the whole epoch.

    Args:
        size: number of samples in the split.
        batch_size: samples of one batch on one rank.
        seed: of the permutations.
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.rank, self.world = process()
        self.per_rank = max(1, size // (batch_size * self.world)) * batch_size
        self.epoch, self.start = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch, as the Trainer does; leaving the resumed epoch forgets its position."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def resume(self, epoch: int, seen: int) -> None:
        """Continue within an epoch.

        Args:
            epoch: the epoch that was interrupted.
            seen: samples of it that this rank has seen.
        """
        self.epoch, self.start = epoch, seen

    def __len__(self) -> int:
        return self.per_rank

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        order = np.resize(order, self.per_rank * self.world)  # cuts the tail, or repeats a tiny split
        for index in order[self.rank :: self.world][self.start :]:
            yield Draw(int(index), self.epoch)


class EvalSampler(Sampler[Draw]):
    """Deals every sample once, in order, to the ranks without padding: no sample counts twice.

    Args:
        size: number of samples in the split.
    """

    def __init__(self, size: int) -> None:
        rank, world = process()
        self.indices = range(rank, size, world)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(index, 0) for index in self.indices)
