"""End-point error of optical flow, and how well it reconstructs images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from partwise.labels import LabelSet
from partwise.metrics.shards import ShardMetric, first_visits


class EndPointError(ShardMetric):
    """Mean length of flow - truth over all pixels of a split, in pixels; a pair counts once however many ranks see it.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: see `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("index", (), torch.int64)
        self.add_shard("sums", (2,), torch.float32)  # error, and pixels, of each pair

    def update(self, index: Sequence[int], preds: Tensor, target: Tensor) -> None:
        """Add pairs: position of each in its split, flows (B, 2, H, W) in pixels."""
        if preds.shape != target.shape:
            raise ValueError(f"flow {tuple(preds.shape)} and truth {tuple(target.shape)} differ in shape")
        error = (preds - target).norm(dim=1)
        pixels = error.new_full((len(error),), error[0].numel())
        self.append("sums", torch.stack([error.sum((1, 2)), pixels], 1))
        self.append("index", torch.tensor(list(index)))

    def compute(self) -> dict[str, float]:
        """`epe`, NaN before anything was seen; collective over ranks."""
        first = first_visits(self.gathered("index"))
        error, pixels = self.gathered("sums")[first].astype("float64").sum(0)
        return {"epe": float(error / pixels) if pixels else float("nan")}


class Reconstruction(ShardMetric):
    """How far images lie from those that the flow warps to them, and the flow from the truth where that is known.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: see `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_shard("index", (), torch.int64)
        self.add_shard("means", (2,), torch.float32)  # difference and end-point error of each sample

    def update(self, index: Sequence[int], differences: Tensor, errors: Tensor | None = None) -> None:
        """Add samples: position of each in its split, means (B,) over their pixels; errors in pixels."""
        known = torch.full_like(differences, float("nan")) if errors is None else errors
        self.append("means", torch.stack([differences, known], 1))
        self.append("index", torch.tensor(list(index)))

    def compute(self) -> dict[str, float]:
        """`reconstruction`, 0..3 for images in [0, 1], and `epe` where it is known; collective over ranks."""
        first = first_visits(self.gathered("index"))
        means = self.gathered("means")[first].astype("float64")
        if not len(means):
            return {"reconstruction": float("nan")}
        difference, error = means.mean(0).tolist()
        return {"reconstruction": difference} | ({} if math.isnan(error) else {"epe": error})
