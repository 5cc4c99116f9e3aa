"""The metrics of DAVIS by its 2016 protocol: mean, recall and decay of J and of F."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from partwise.batches import Annotation, Parsing
from partwise.labels import IGNORE, LabelSet
from partwise.metrics.shards import ShardMetric
from partwise.scores.davis import frame_scores, in_order, mean_scores, scored, sequence_scores

#: Bytes kept of a frame's name; a file system allows 255 for its folder and for itself.
_NAME = 512


class DAVISMetrics(ShardMetric):
    """Compute all metrics of one split, fractions; a frame counts once however many ranks or updates see it.

    First and last frame of a sequence, by name, are not scored. Keeps half a kilobyte a frame.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: of `torchmetrics.Metric`.
    """

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("names", (_NAME,), torch.uint8)
        self.add_shard("scores", (2,), torch.int64)  # bits of float64: not every device has the type itself

    def update(
        self,
        index: Sequence[int],
        preds: Sequence[Parsing],
        target: Sequence[Annotation],
        sample_ids: Sequence[str],
    ) -> None:
        """Add frames.

        Args:
            index: not needed; frames are told apart by their names, as samples may be whole sequences.
            preds: parsings at native size; every class but background is foreground.
            target: annotations at native size; pixels of 255 are background for both, as in the 2017 evaluator.
            sample_ids: SEQ/FRAME of each.

        Raises:
            ValueError: a name has another form, or a parsing another size than its annotation.
        """
        for _, pred, truth, name in zip(index, preds, target, sample_ids, strict=True):
            encoded, parts = _encoded(name), truth["parts"].cpu().numpy()
            void = parts == IGNORE
            called = (pred["parts"].cpu().numpy() > 0).view(np.uint8)
            try:
                scores = frame_scores(called, (parts > 0).view(np.uint8), void if void.any() else None)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            self.append("names", encoded)
            self.append("scores", np.array([scores]).view(np.int64))

    def compute(self) -> dict[str, float]:
        """Compute the metrics so far; collective over ranks.

        Returns:
            `J_mean`, ..., `F_decay`; NaN where no sequence has a scored frame.
        """
        names = [row.tobytes().rstrip(b"\0").decode() for row in self.gathered("names")]
        by_sequence: dict[str, dict[str, Any]] = {}
        for name, scores in zip(names, self.gathered("scores").view(np.float64), strict=True):
            sequence, _, frame = name.rpartition("/")
            by_sequence.setdefault(sequence, {}).setdefault(frame, scores)
        frames = scored({sequence: in_order(seen) for sequence, seen in by_sequence.items()})
        return mean_scores(
            sequence_scores(np.reshape([by_sequence[sequence][frame] for frame in counted], (-1, 2)))
            for sequence, counted in sorted(frames.items())
        )


def _encoded(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """(1, 512) a frame's name in bytes of equal number, which ranks can exchange."""
    encoded = name.encode()
    if "/" not in name or len(encoded) > _NAME:
        raise ValueError(f"sample {name!r} is not SEQ/FRAME in at most {_NAME} bytes")
    return np.frombuffer(encoded.ljust(_NAME, b"\0"), np.uint8)[None].copy()
