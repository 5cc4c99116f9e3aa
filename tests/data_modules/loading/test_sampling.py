from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.loading import sampling
from data_modules.loading.sampling import EvalSampler, TrainSampler


def of_rank(rank, world, make):
    """A sampler as the process `rank` of `world` would build it."""
    with patch.object(sampling, "process", lambda: (rank, world)):
        return make()


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 3), st.integers(0, 5))
def test_ranks_share_an_epoch_without_overlap(size, batch, world, epoch):
    drawn = []
    for rank in range(world):
        sampler = of_rank(rank, world, lambda: TrainSampler(size, batch, seed=3))
        sampler.set_epoch(epoch)
        mine = list(sampler)
        assert len(mine) == len(sampler) == sampler.per_rank
        assert len(mine) % batch == 0
        assert all(d.epoch == epoch for d in mine)
        drawn += [d.sample for d in mine]
    assert set(drawn) <= set(range(size))
    if size >= batch * world:
        assert len(set(drawn)) == len(drawn)
    else:
        assert set(drawn) == set(range(size))  # a tiny split is repeated, nothing is left out


def test_epochs_differ_and_seeds_repeat():
    a, b = TrainSampler(50, 5, seed=1), TrainSampler(50, 5, seed=1)
    first = list(a)
    assert first == list(b)
    a.set_epoch(1)
    assert [d.sample for d in a] != [d.sample for d in first]


@given(st.integers(0, 10), st.integers(0, 4))
def test_resuming_continues_where_the_epoch_stopped(batches, epoch):
    whole, resumed = TrainSampler(40, 4, seed=0), TrainSampler(40, 4, seed=0)
    whole.set_epoch(epoch)
    resumed.resume(epoch, batches * 4)
    resumed.set_epoch(epoch)  # the Trainer says it again
    assert list(resumed) == list(whole)[batches * 4 :]
    assert len(resumed) == len(whole)  # the Trainer counts whole epochs
    whole.set_epoch(epoch + 1)
    resumed.set_epoch(epoch + 1)
    assert list(resumed) == list(whole)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_evaluation_sees_every_sample_once(size, world):
    seen = [d.sample for rank in range(world) for d in of_rank(rank, world, lambda: EvalSampler(size))]
    assert sorted(seen) == list(range(size))
