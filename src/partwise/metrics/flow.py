"""Metrics of optical flow: its end-point error, and how well it reconstructs images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from partwise.labels import LabelSet
from partwise.metrics.shards import IndexedRows


class EndPointError(IndexedRows):
    """Average the length of flow - truth over all pixels of a split, in pixels.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__((2,), torch.float32, **kwargs)  # summed error, and pixels, of each pair

    def update(self, index: Sequence[int], preds: Tensor, target: Tensor) -> None:
        """Add pairs of frames.

        Args:
            index: position of each in its split.
            preds: flows (B, 2, H, W) in pixels.
            target: true flows of the same shape.

        Raises:
            ValueError: the shapes differ.
        """
        if preds.shape != target.shape:
            raise ValueError(f"flow {tuple(preds.shape)} and truth {tuple(target.shape)} differ in shape")
        error = (preds - target).norm(dim=1)
        pixels = error.new_full((len(error),), error[0].numel())
        self.add(index, torch.stack([error.sum((1, 2)), pixels], 1))

    def compute(self) -> dict[str, float]:
        """Return `epe`, NaN before anything was seen; collective over ranks."""
        error, pixels = self.distinct().astype("float64").sum(0)
        return {"epe": float(error / pixels) if pixels else float("nan")}


class Reconstruction(IndexedRows):
    """Average how far images lie from those that the flow warps to them, and the flow from the truth where it is known.

    Args:
        label_set: not needed; metrics of tasks take one.
        kwargs: of `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, label_set: LabelSet | None = None, **kwargs: Any) -> None:
        super().__init__((2,), torch.float32, **kwargs)  # difference and end-point error of each sample

    def update(self, index: Sequence[int], differences: Tensor, errors: Tensor | None = None) -> None:
        """Add samples.

        Args:
            index: position of each in its split.
            differences: (B,) mean over its pixels of the difference of images, summed over channels.
            errors: (B,) mean end-point error over its pixels, in pixels; None where the truth is not known.
        """
        known = torch.full_like(differences, float("nan")) if errors is None else errors
        self.add(index, torch.stack([differences, known], 1))

    def compute(self) -> dict[str, float]:
        """Return `reconstruction`, 0..3 for images in [0, 1], and `epe` where it is known; collective over ranks."""
        means = self.distinct().astype("float64")
        if not len(means):
            return {"reconstruction": float("nan")}
        difference, error = means.mean(0).tolist()
        return {"reconstruction": difference} | ({} if math.isnan(error) else {"epe": error})
