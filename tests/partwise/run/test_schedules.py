import itertools

import pytest

from partwise.run.schedules import cosine, poly, steps


def test_steps_change_at_the_first_step_of_the_milestone_epoch():
    per_epoch, epochs = 7, 150
    factors = [steps(s / (per_epoch * epochs), milestones=[70], epochs=epochs) for s in range(per_epoch * epochs)]
    assert factors == [1.0] * 70 * per_epoch + [0.1] * 80 * per_epoch


@pytest.mark.parametrize("schedule", [poly, cosine])
def test_decay_starts_at_one_ends_at_zero_and_never_rises(schedule):
    factors = [schedule(n / 100) for n in range(101)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in itertools.pairwise(factors))


def test_poly_is_deeplabs():
    assert poly(0.25) == pytest.approx(0.75**0.9)


@pytest.mark.parametrize("schedule", [poly, cosine])
def test_warm_up_rises_linearly_to_the_schedule(schedule):
    assert schedule(0, warmup=0.1) == pytest.approx(0.01)
    assert schedule(0.05, warmup=0.1) == pytest.approx(0.505 * schedule(0.05))
    assert schedule(0.1, warmup=0.1) == schedule(0.1)


def test_steps_warm_up_from_a_third():
    def factor(progress):
        return steps(progress, milestones=[8], epochs=10, warmup=0.1)

    assert [factor(p) for p in (0, 0.05, 0.1, 0.9)] == pytest.approx([1 / 3, 2 / 3, 1, 0.1])
