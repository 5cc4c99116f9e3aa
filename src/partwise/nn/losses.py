"""Losses of dense parsers. 255 is ignored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.losses import lovasz_softmax_loss
from torch import Tensor


def lovasz_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Lovasz-softmax of logits (B, C, H, W) against parts (B, H, W), 255 ignored.

    The pixels of the batch count as one image, and classes that it lacks are left out.
    """
    labelled = parts != 255
    target = parts[labelled][None, :, None]
    if not target.numel():
        return logits.sum() * 0
    num_classes = logits.shape[1]
    present = torch.bincount(target.flatten(), minlength=num_classes) > 0
    weight = present.float() * num_classes / present.sum()
    pixels = logits.float().permute(0, 2, 3, 1)[labelled].t()[None, :, :, None]
    return lovasz_softmax_loss(pixels, target, weight)


def parsing_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Compute the mean cross-entropy of logits (B, C, h, w), upsampled, against parts (B, H, W); 255 is ignored.

    A batch without any labelled pixel gives 0, not NaN.
    """
    logits = F.interpolate(logits.float(), parts.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, parts, ignore_index=255, reduction="sum")
    return total / (parts != 255).sum().clamp(min=1)
