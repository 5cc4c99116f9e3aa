from collections import Counter

import numpy as np
import pytest

from data_modules.loading.key_clips import draw_keys, key_choices, key_range, keys_at
from partwise.ops.key_frames import segments

SPANS = [(interval, past) for interval in range(1, 8) for past in range(4)]


@pytest.mark.parametrize("interval", range(1, 9))
def test_training_keys_are_those_that_a_segment_can_have(interval):
    """[t-l+1+floor(l/2), t+floor(l/2)], which is where inference puts the key of a frame's segment."""
    t, half = 50, interval // 2
    assert set(key_range(t, interval)) == set(range(t - interval + 1 + half, t + half + 1))
    assert len(key_range(t, interval)) == interval
    whole = [part for part in segments(20 * interval, interval) if part.frames.start > 2 * interval]
    assert {part.key - n for part in whole for n in part.frames} == {k - t for k in key_range(t, interval)}


@pytest.mark.parametrize(("interval", "past"), SPANS)
def test_every_choice_lies_on_one_side_and_exists(interval, past):
    half = interval // 2
    for length in (1, 5, 11, 40):
        for t in range(length):
            expected = {}
            for key in range(t - interval + 1 + half, t + half + 1):
                sides = [[key - n * interval for n in range(past, -1, -1)]]
                sides += [[key + n * interval for n in range(past, -1, -1)]] if past else []
                if whole := [side for side in sides if min(side) >= 0 and max(side) < length]:
                    expected[key] = whole
            assert key_choices(t, interval, past, range(length)) == expected


@pytest.mark.parametrize(("interval", "past"), [(interval, 2) for interval in range(1, 6)])
def test_vips_ten_neighbours_are_enough_up_to_five(interval, past):
    for before in range(11):  # at the start of a video there are fewer
        available = range(100 - before, 111)
        assert set(key_choices(100, interval, past, available)) >= {100}
    assert set(key_choices(100, interval, past, range(90, 111))) == set(key_range(100, interval))


@pytest.mark.parametrize(("interval", "past"), [(3, 2), (4, 1), (1, 2), (5, 2)])
def test_keys_are_uniform_and_sides_even(interval, past):
    rng, draws = np.random.default_rng(0), 4000
    drawn = [draw_keys(rng, 50, interval, past, range(100)) for _ in range(draws)]
    keys = Counter(clip[-1] for clip in drawn)
    assert set(keys) == set(key_range(50, interval))
    assert all(abs(count / draws - 1 / interval) < 0.04 for count in keys.values())
    former = sum(clip[0] < clip[-1] for clip in drawn)
    assert abs(former / draws - 0.5) < 0.04
    assert all(len(clip) == past + 1 and set(np.diff(clip)) <= {interval, -interval} for clip in drawn)


def test_former_keys_are_taken_where_they_exist():
    rng = np.random.default_rng(0)
    for t in range(30):
        for _ in range(20):
            clip = draw_keys(rng, t, 3, 2, range(30), former_only=True)
            assert (clip[0] < clip[-1]) == (clip[-1] >= 6)


def test_gaps_rule_out_the_clips_that_need_them():
    available = set(range(30)) - {13}
    assert 13 not in {frame for clips in key_choices(16, 3, 2, available).values() for c in clips for frame in c}
    assert draw_keys(np.random.default_rng(0), 0, 5, 2, {0, 1, 2}) == []
    assert keys_at(0, 0, 5, 2, {0, 1, 2}) == []


def test_equal_seeds_draw_equal_keys():
    a, b = (np.random.default_rng([1, 2, 3]) for _ in range(2))
    assert [draw_keys(a, 50, 3, 2, range(99)) for _ in range(9)] == [
        draw_keys(b, 50, 3, 2, range(99)) for _ in range(9)
    ]


@pytest.mark.parametrize("interval", [1, 3, 4, 5])
def test_keys_at_an_offset_are_former_ones_or_the_nearest(interval):
    for offset in key_range(0, interval):
        clip = keys_at(50, offset, interval, 2, range(100))
        assert clip == [50 + offset - 2 * interval, 50 + offset - interval, 50 + offset]
    assert keys_at(0, key_range(0, interval)[0], interval, 2, range(100)) == [2 * interval, interval, 0]
