"""Segments, their key frames, and the key frames that these are encoded with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partwise.ops.key_frames import memory, segments


@pytest.mark.parametrize("interval", range(1, 9))
def test_a_video_falls_into_segments_with_the_middle_frame_as_key(interval):
    for length in range(30):
        parts = segments(length, interval)
        assert [t for part in parts for t in part.frames] == list(range(length))
        for part in parts[:-1]:
            assert len(part.frames) == interval
            assert part.key == part.frames[0] + interval // 2
        for part in parts[-1:]:
            assert 1 <= len(part.frames) <= interval
            assert part.key == part.frames[len(part.frames) // 2]


@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 4))
def test_memory_is_former_keys_or_else_later_ones(length, interval, past):
    keys = [part.key for part in segments(length, interval)]
    for n, key in enumerate(keys):
        clip = memory(keys, n, past)
        assert len(clip) == past + 1
        assert clip[-1] == key
        if n >= past:
            assert clip == keys[n - past : n + 1]
        elif len(keys) - n > past:
            assert clip == keys[n : n + past + 1][::-1]
        assert clip == sorted(clip) or clip == sorted(clip, reverse=True)


def test_memory_of_a_very_short_video_repeats_its_end():
    assert memory([1], 0, 2) == [1, 1, 1]
    assert memory([1, 4], 0, 2) == [4, 4, 1]
    assert memory([1, 4], 1, 2) == [1, 1, 4]
    assert memory([1, 4, 7], 1, 2) == [1, 1, 4]


def test_first_frames_as_keys_never_look_ahead():
    assert [part.key for part in segments(7, 3, centred=False)] == [0, 3, 6]
    for n in range(6):
        assert max(memory(range(6), n, 2, centred=False)) == n
