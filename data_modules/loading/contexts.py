"""Choose the frames that go with a labelled frame, the target, in a clip: ATEN's key frames, FGFA's neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container

import numpy as np

from data_modules.loading.key_clips import draw_keys, key_range, keys_at
from partwise.errors import InputError
from partwise.ops.key_frames import memory, segments


class Around(ABC):
    """Chooses the frames of a clip; the target, its last frame, is not among them unless it is chosen."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Draw frames for training.

        Args:
            rng: source of the draw.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            Frame numbers in the network's order; none if too few are available.
        """

    @abstractmethod
    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Choose frames for evaluation where only some around the target exist.

        Args:
            rng: source of the draw, if there is one.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            Frame numbers in the network's order; none if too few are available.
        """

    @abstractmethod
    def of_video(self, target: int, length: int) -> list[int]:
        """Choose frames for evaluation in a whole video.

        Args:
            target: number of the labelled frame, from 0.
            length: frames of the video.

        Returns:
            Frame numbers in the network's order.
        """


class KeyFrames(Around):
    """Key frames, farthest first and the target's own last (ATEN section 4; DFF with `past` 0, not `centred`).

    Args:
        interval: l, frames from key to key, at least 1.
        past: p, number of other key frames encoded with the current one, at least 0.
        centred: whether key frames lie in the middle of their segments; else they are the first ones.
        former_only: whether training takes earlier key frames where they exist, as evaluation does; else it takes
            earlier or later ones with equal chance.
        offset: in evaluation, frames from the target to its key frame, negative for an earlier one; None draws it once
            for each target. In whole videos it follows from the segments.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(
        self,
        interval: int = 3,
        past: int = 2,
        centred: bool = True,
        former_only: bool = False,
        offset: int | None = None,
    ) -> None:
        if interval < 1:
            raise InputError(f"data.around.interval={interval} is no distance of key frames; give 1 or more")
        if past < 0:
            raise InputError(f"data.around.past={past} is no number of key frames; give 0 or more")
        if offset is not None and offset not in (offsets := key_range(0, interval, centred)):
            raise InputError(
                f"data.around.offset={offset} is not in {offsets[0]}..{offsets[-1]}, those of l = {interval}"
            )
        self.interval, self.past, self.centred = interval, past, centred
        self.former_only, self.offset = former_only, offset

    def __str__(self) -> str:
        return f"{self.past} more key frames {self.interval} apart"

    def draw(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Draw a key frame and the p others on one side of it.

        Args:
            rng: source of the draw.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            p + 1 frames, farthest first and the current key last; none if no such clip is complete.
        """
        return self._draw(rng, target, available, self.former_only)

    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Take the p earlier key frames where they exist, later ones elsewhere.

        Args:
            rng: source of the draw, where `offset` is None.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            p + 1 frames, farthest first and the current key last; none if no such clip is complete.
        """
        if self.offset is None:
            return self._draw(rng, target, available, former_only=True)
        return keys_at(target, self.offset, self.interval, self.past, available, self.centred)

    def of_video(self, target: int, length: int) -> list[int]:
        """Take the key frames in memory at the target's segment (ATEN Algorithm 1).

        Args:
            target: number of the labelled frame, from 0.
            length: frames of the video.

        Returns:
            p + 1 frames, farthest first and the current key last; a short video repeats its last key frame.
        """
        keys = [segment.key for segment in segments(length, self.interval, self.centred)]
        return memory(keys, target // self.interval, self.past, self.centred)

    def _draw(self, rng: np.random.Generator, target: int, available: Container[int], former_only: bool) -> list[int]:
        return draw_keys(
            rng, target, self.interval, self.past, available, former_only=former_only, centred=self.centred
        )


class Neighbours(Around):
    """Frames on both sides of the target (FGFA section 4).

    Args:
        reach: K, neighbours on either side in evaluation, the target between them, at least 0; ends are repeated.
        count: frames in training, at distinct distances, 1 to 2 spread + 1.
        spread: farthest distance from the target in training, at least 0; the target itself may be drawn too.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, reach: int = 5, count: int = 2, spread: int = 9) -> None:
        if min(reach, spread) < 0 or not 1 <= count <= 2 * spread + 1:
            raise InputError(
                f"data.around: reach={reach}, count={count}, spread={spread} choose no frames; "
                "count must be in 1..2 spread + 1"
            )
        self.reach, self.count, self.spread = reach, count, spread

    def __str__(self) -> str:
        return f"{self.count} frames within {self.spread}"

    def draw(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Draw `count` distinct frames within `spread`, uniformly.

        Args:
            rng: source of the draw.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            Frame numbers; none if too few are available.
        """
        near = [t for t in range(target - self.spread, target + self.spread + 1) if t in available]
        if len(near) < self.count:
            return []
        return [int(t) for t in rng.choice(near, self.count, replace=False)]

    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Take all frames within `reach`; the last one that exists stands in for those beyond it.

        Args:
            rng: of no effect.
            target: number of the labelled frame.
            available: numbers of the frames that exist.

        Returns:
            2 K + 1 frames in ascending order.
        """
        chosen = [target]
        for step in range(1, self.reach + 1):
            first, last = chosen[0], chosen[-1]
            before, after = target - step, target + step
            chosen = [before if before in available else first, *chosen, after if after in available else last]
        return chosen

    def of_video(self, target: int, length: int) -> list[int]:
        """Take all frames within `reach`; the video's ends are repeated.

        Args:
            target: number of the labelled frame, from 0.
            length: frames of the video.

        Returns:
            2 K + 1 frames in ascending order.
        """
        return [min(max(target + step, 0), length - 1) for step in range(-self.reach, self.reach + 1)]
