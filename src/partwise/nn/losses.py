"""Losses of dense parsers. Label 255 is ignored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.losses import lovasz_softmax_loss
from torch import Tensor

from partwise.labels import IGNORE


def lovasz_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Compute the Lovasz-softmax loss (Berman et al., CVPR 2018).

    All pixels of the batch count as one image; classes without a pixel in it are left out.

    Args:
        logits: (B, C, H, W).
        parts: (B, H, W) int64; 255 is ignored.

    Returns:
        (); 0 for a batch without labelled pixels.
    """
    labelled = parts != IGNORE
    target = parts[labelled][None, :, None]
    if not target.numel():
        return logits.sum() * 0
    num_classes = logits.shape[1]
    present = torch.bincount(target.flatten(), minlength=num_classes) > 0
    weight = present.float() * num_classes / present.sum()
    pixels = logits.float().permute(0, 2, 3, 1)[labelled].t()[None, :, :, None]
    return lovasz_softmax_loss(pixels, target, weight)


def parsing_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Compute the mean cross-entropy over labelled pixels, of logits upsampled to the labels' size.

    Args:
        logits: (B, C, h, w), of any lower resolution.
        parts: (B, H, W) int64; 255 is ignored.

    Returns:
        () float32; 0, not NaN, for a batch without labelled pixels.
    """
    logits = F.interpolate(logits.float(), parts.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, parts, ignore_index=IGNORE, reduction="sum")
    return total / (parts != IGNORE).sum().clamp(min=1)


def score_map_loss(scores: Tensor, parts: Tensor) -> Tensor:
    """Compute the mean cross-entropy over labelled pixels at the scores' own size, as DeepLab's releases do.

    Labels are downsampled to the nearest pixel, corners onto corners: every eighth one at stride 8 of sides of 8n + 1.

    Args:
        scores: (B, C, h, w).
        parts: (B, H, W) int64; 255 is ignored.

    Returns:
        () float32; 0, not NaN, where no pixel is labelled.
    """
    rows, columns = (
        torch.linspace(0, side - 1, count, device=parts.device).round().long()
        for side, count in zip(parts.shape[-2:], scores.shape[-2:], strict=True)
    )
    return parsing_loss(scores, parts[:, rows[:, None], columns])


def hardest_mean(losses: Tensor, valid: Tensor, hardest: float | None) -> Tensor:
    """Average the losses of each image's hardest pixels: online hard example mining (Holistic parsing, section 3.3).

    Args:
        losses: (B, H, W).
        valid: (B, H, W) bool; the other pixels do not count.
        hardest: share of an image's pixels that counts, above 0; None takes all.

    Returns:
        (); 0 where no pixel is valid.
    """
    losses = torch.where(valid, losses, 0).flatten(1)
    if hardest is None or hardest >= 1:
        return losses.sum() / valid.sum().clamp(min=1)
    # A valid pixel's loss is at least 0, so that those left out come last.
    top = torch.where(valid.flatten(1), losses, -1).topk(max(1, round(hardest * losses.shape[1]))).values
    return top.clamp(min=0).sum() / (top >= 0).sum().clamp(min=1)
