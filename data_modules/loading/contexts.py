"""Which frames go with a labelled one, the target, in a clip: ATEN's key frames, FGFA's neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container

import numpy as np

from data_modules.loading.key_clips import draw_keys, key_range, keys_at
from partwise.errors import InputError
from partwise.ops.key_frames import memory, segments


class Around(ABC):
    """Chooses the frames of a clip; the target itself, its last frame, is not among them unless it is chosen."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Frames for training; none if too few are available."""

    @abstractmethod
    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Frames for evaluation where only some around the target are known."""

    @abstractmethod
    def of_video(self, target: int, length: int) -> list[int]:
        """Frames for evaluation in a whole video of `length` frames."""


class KeyFrames(Around):
    """Key frames, farthest first and the target's own last (ATEN section 4; DFF with `past` 0, not `centred`).

    Args:
        interval: l, frames from key to key.
        past: p, key frames beside the current one.
        centred: key frames lie in the middle of their segments; else they are the first ones.
        former_only: training takes earlier key frames where they exist, as evaluation does, instead of either side.
        offset: in evaluation, frames from the target to its key frame; None draws it, for each frame once. In whole
            videos it follows from the segments.
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
        """See `draw_keys`."""
        return self._draw(rng, target, available, self.former_only)

    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """Earlier key frames where they exist."""
        if self.offset is None:
            return self._draw(rng, target, available, former_only=True)
        return keys_at(target, self.offset, self.interval, self.past, available, self.centred)

    def of_video(self, target: int, length: int) -> list[int]:
        """Those of the target's segment, as Algorithm 1 has them."""
        keys = [segment.key for segment in segments(length, self.interval, self.centred)]
        return memory(keys, target // self.interval, self.past, self.centred)

    def _draw(self, rng: np.random.Generator, target: int, available: Container[int], former_only: bool) -> list[int]:
        return draw_keys(
            rng, target, self.interval, self.past, available, former_only=former_only, centred=self.centred
        )


class Neighbours(Around):
    """Frames on both sides of the target (FGFA section 4).

    Args:
        reach: K, neighbours on either side in evaluation, the target between them; ends are repeated.
        count: frames in training, at distinct distances.
        spread: farthest distance in training; 0 may be drawn too.
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
        """Distinct frames, each as likely."""
        near = [t for t in range(target - self.spread, target + self.spread + 1) if t in available]
        if len(near) < self.count:
            return []
        return [int(t) for t in rng.choice(near, self.count, replace=False)]

    def score(self, rng: np.random.Generator, target: int, available: Container[int]) -> list[int]:
        """All within reach."""
        chosen = [target]
        for step in range(1, self.reach + 1):
            first, last = chosen[0], chosen[-1]
            before, after = target - step, target + step
            chosen = [before if before in available else first, *chosen, after if after in available else last]
        return chosen

    def of_video(self, target: int, length: int) -> list[int]:
        """All within reach."""
        return [min(max(target + step, 0), length - 1) for step in range(-self.reach, self.reach + 1)]
