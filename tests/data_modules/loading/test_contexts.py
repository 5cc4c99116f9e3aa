"""Frames around a target, against what the papers say of them."""

from collections import Counter

import numpy as np
import pytest

from data_modules.loading.contexts import KeyFrames, Neighbours
from partwise.errors import InputError


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: KeyFrames(0), "interval=0"),
        (lambda: KeyFrames(past=-1), "past=-1"),
        (lambda: KeyFrames(3, offset=2), r"offset=2 is not in -1\.\.1"),
        (lambda: KeyFrames(10, 0, centred=False, offset=1), r"offset=1 is not in -9\.\.0"),
        (lambda: Neighbours(reach=-1), "reach=-1"),
        (lambda: Neighbours(count=0), "count=0"),
        (lambda: Neighbours(spread=1, count=4), "count=4"),
    ],
)
def test_impossible_choices_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_dff_draws_its_key_frame_from_the_last_ten():
    """Offsets uniform in [-9, 0]."""
    rng, dff = np.random.default_rng(0), KeyFrames(10, 0, centred=False)
    drawn = Counter(tuple(dff.draw(rng, 50, range(100))) for _ in range(3000))
    assert set(drawn) == {(k,) for k in range(41, 51)}
    assert all(abs(n / 3000 - 0.1) < 0.03 for n in drawn.values())
    assert [dff.of_video(t, 25)[0] for t in (0, 9, 10, 19, 20, 24)] == [0, 0, 10, 10, 20, 20]


def test_fgfa_draws_two_distinct_distances_within_nine():
    rng, fgfa = np.random.default_rng(0), Neighbours()
    drawn = [fgfa.draw(rng, 50, range(100)) for _ in range(3000)]
    assert {t - 50 for clip in drawn for t in clip} == set(range(-9, 10))
    assert all(len(set(clip)) == 2 for clip in drawn)
    assert Neighbours().draw(rng, 0, {0}) == []


def test_fgfa_scores_all_neighbours_and_repeats_the_ends():
    fgfa, rng = Neighbours(reach=3), np.random.default_rng(0)
    assert fgfa.of_video(5, 20) == [2, 3, 4, 5, 6, 7, 8]
    assert fgfa.of_video(1, 4) == [0, 0, 0, 1, 2, 3, 3]
    for t, length in ((5, 20), (1, 4), (0, 1)):
        assert fgfa.score(rng, t, range(length)) == fgfa.of_video(t, length)


def test_aten_in_a_whole_video():
    aten = KeyFrames(3, 2)
    assert aten.of_video(0, 30) == [7, 4, 1]  # no former key frames
    assert aten.of_video(13, 30) == [7, 10, 13]
