"""Optical flow without weights: dense inverse search (Kroeger et al., ECCV 2016), OpenCV's."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from partwise.arrays import UInt8Array

Preset = Literal["fast", "medium"]
_PRESETS: dict[Preset, int] = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}


def dense_inverse_search(
    target: UInt8Array, source: UInt8Array, preset: Literal["fast", "medium"] = "medium"
) -> Tensor:
    """Estimate the flow between two grey images, on the CPU.

    Args:
        target: (H, W) uint8.
        source: (H, W) uint8.
        preset: of OpenCV, the finest scale and the number of iterations.

    Returns:
        (2, H, W) float32 (dx, dy) in pixels: pixel p of target lies at p + flow[p] in source.
    """
    estimator = cv2.DISOpticalFlow.create(_PRESETS[preset])  # a moment; keeping it, networks could not be copied
    flow = estimator.calc(target, source, np.zeros((*target.shape, 2), np.float32))
    return torch.from_numpy(np.ascontiguousarray(flow)).permute(2, 0, 1).contiguous()
