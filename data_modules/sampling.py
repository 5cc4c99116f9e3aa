"""Which sample comes when, and which frames go with it.

Every draw follows from (seed, epoch, index), and a position can be resumed. For segments and key frames see
`partwise.ops.key_frames`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from partwise.ops.key_frames import key_place


class Draw(NamedTuple):
    """A sample to make: its position in the split and the epoch that its randomness follows from."""

    sample: int
    epoch: int


def process() -> tuple[int, int]:
    """(rank, world size) of this process; (0, 1) without torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class TrainSampler(Sampler[Draw]):
    """A new permutation every epoch, dealt to the ranks; the tail is dropped so that all get whole batches.

    A split smaller than one global batch is repeated to fill it. `start` skips the samples of the first epoch
    that a resumed run has already seen, while `len` still tells the whole epoch's.

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
        """Called by the Trainer at every epoch; leaving the resumed epoch forgets its position."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def resume(self, epoch: int, seen: int) -> None:
        """Continue in `epoch` after `seen` samples of this rank."""
        self.epoch, self.start = epoch, seen

    def __len__(self) -> int:
        return self.per_rank

    def __iter__(self) -> Iterator[Draw]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        order = np.resize(order, self.per_rank * self.world)  # cuts the tail, or repeats a tiny split
        for index in order[self.rank :: self.world][self.start :]:
            yield Draw(int(index), self.epoch)


class EvalSampler(Sampler[Draw]):
    """Every sample once, in order, dealt to the ranks without padding: no sample counts twice."""

    def __init__(self, size: int) -> None:
        rank, world = process()
        self.indices = range(rank, size, world)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(index, 0) for index in self.indices)


def key_range(target: int, interval: int, centred: bool = True) -> range:
    """Key frames that a target may have: where it lies in its segment is not known, so there are l."""
    place = key_place(interval, centred)
    return range(target - interval + 1 + place, target + place + 1)


def key_choices(
    target: int, interval: int, past: int, available: Container[int], centred: bool = True
) -> dict[int, list[list[int]]]:
    """For each key frame k that the target may have, the clips of p + 1 key frames that end in it.

    Args:
        target: the labelled frame t.
        interval: l, frames from key to key.
        past: p, key frames beside the current one.
        available: the frames that exist.
        centred: key frames lie in the middle of their segments; else they are the first ones.

    Returns:
        k -> [..., k - 2l, k - l, k] and [..., k + 2l, k + l, k], as far as all their frames exist; farthest first.
        Key frames without any are left out.
    """
    choices = {}
    for key in key_range(target, interval, centred):
        signs = (-1, 1) if past else (-1,)
        clips = [[key + sign * n * interval for n in range(past, -1, -1)] for sign in signs]
        whole = [clip for clip in clips if all(frame in available for frame in clip)]
        if whole:
            choices[key] = whole
    return choices


def draw_keys(
    rng: np.random.Generator,
    target: int,
    interval: int,
    past: int,
    available: Container[int],
    *,
    former_only: bool = False,
    centred: bool = True,
) -> list[int]:
    """Draw the key frames of a training clip: the current one uniformly, then the side on which the others lie.

    Args:
        rng: source of the draw.
        target: the labelled frame t.
        interval: l, frames from key to key.
        past: p, key frames beside the current one.
        available: the frames that exist.
        former_only: take earlier frames and, as at test, later ones only where those do not exist; otherwise either
            side is as likely.
        centred: see `key_choices`.

    Returns:
        p + 1 frames, farthest first and the current key last; none where no clip is whole.
    """
    choices = key_choices(target, interval, past, available, centred)
    if not choices:
        return []
    clips = choices[list(choices)[rng.integers(len(choices))]]
    return clips[0 if former_only else rng.integers(len(clips))]


def keys_at(
    target: int, offset: int, interval: int, past: int, available: Container[int], centred: bool = True
) -> list[int]:
    """As `draw_keys`, with the current key `offset` frames after the target, or the nearest that has a whole clip."""
    choices = key_choices(target, interval, past, available, centred)
    if not choices:
        return []
    return choices[min(choices, key=lambda key: abs(key - target - offset))][0]
