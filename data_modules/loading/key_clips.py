"""Choose the key frames that go with a target in training and evaluation (ATEN section 4)."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from partwise.ops.key_frames import key_place


def key_range(target: int, interval: int, centred: bool = True) -> range:
    """Return the l key frames that a target may have, as its place in its segment is unknown.

    Args:
        target: number of the labelled frame t.
        interval: l, frames from key to key, at least 1.
        centred: whether key frames lie in the middle of their segments; else they are the first ones.

    Returns:
        Frame numbers, of which some may not exist.
    """
    place = key_place(interval, centred)
    return range(target - interval + 1 + place, target + place + 1)


def key_choices(
    target: int, interval: int, past: int, available: Container[int], centred: bool = True
) -> dict[int, list[list[int]]]:
    """List the clips of p + 1 key frames that end in each key frame k that the target may have.

    Args:
        target: number of the labelled frame t.
        interval: l, frames from key to key, at least 1.
        past: p, number of other key frames, at least 0.
        available: numbers of the frames that exist.
        centred: whether key frames lie in the middle of their segments; else they are the first ones.

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
        target: number of the labelled frame t.
        interval: l, frames from key to key, at least 1.
        past: p, number of other key frames, at least 0.
        available: numbers of the frames that exist.
        former_only: whether earlier frames are taken and, as at test, later ones only where those do not exist;
            otherwise either side is as likely.
        centred: whether key frames lie in the middle of their segments; else they are the first ones.

    Returns:
        p + 1 frames, farthest first and the current key last; none where no clip is complete.
    """
    choices = key_choices(target, interval, past, available, centred)
    if not choices:
        return []
    clips = choices[list(choices)[rng.integers(len(choices))]]
    return clips[0 if former_only else rng.integers(len(clips))]


def keys_at(
    target: int, offset: int, interval: int, past: int, available: Container[int], centred: bool = True
) -> list[int]:
    """Take the key frames of an evaluation clip: earlier ones where they exist.

    Args:
        target: number of the labelled frame t.
        offset: frames from the target to the current key; the nearest that has a complete clip is taken.
        interval: l, frames from key to key, at least 1.
        past: p, number of other key frames, at least 0.
        available: numbers of the frames that exist.
        centred: whether key frames lie in the middle of their segments; else they are the first ones.

    Returns:
        p + 1 frames, farthest first and the current key last; none where no clip is complete.
    """
    choices = key_choices(target, interval, past, available, centred)
    if not choices:
        return []
    return choices[min(choices, key=lambda key: abs(key - target - offset))][0]
