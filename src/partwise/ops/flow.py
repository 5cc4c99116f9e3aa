"""Optical flow as the papers use it: `flow_t_to_s[p] = q - p`, pixel p of frame t is found at q in frame s.

Hence `warp(x_s, flow_t_to_s)` is aligned with t (backward warping). Flow is (dx, dy) in pixels of the grid
it lives on, so resizing a flow rescales its values and flipping it negates dx.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(x: Tensor, flow: Tensor, padding: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Sample `x` at p + flow[p], bilinearly (TCNet Eq. 2, ATEN's W(F, flow)).

    Args:
        x: (B, C, H, W) features, scores or images of frame s.
        flow: (B, 2, H, W) flow from t to s, pixels.
        padding: "zeros" for scores and features, "border" for images.

    Returns:
        (B, C, H, W) of x's type, aligned with t. Identity and integer shifts are right to 2e-4. Places are told in
        float32 at least: bfloat16 has half pixels from 64 on.
    """
    if flow.shape[1] != 2 or flow.shape[-2:] != x.shape[-2:] or flow.shape[0] != x.shape[0]:
        raise ValueError(f"flow {tuple(flow.shape)} does not fit x {tuple(x.shape)}: want (B, 2, H, W) of x")
    wide = torch.promote_types(torch.promote_types(flow.dtype, x.dtype), torch.float32)
    # By numbers: a tensor made of the sizes would have the host wait for the device.
    places = [
        2 / max(side - 1, 1) * p - 1
        for side, p in zip((x.shape[-1], x.shape[-2]), _targets(flow.to(wide)), strict=True)
    ]
    with torch.autocast(x.device.type, enabled=False):
        warped = F.grid_sample(x.to(wide), torch.stack(places, -1), "bilinear", padding, align_corners=True)
    return warped.to(x.dtype)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, 2, H, W) flow bilinearly to `size` (height, width) and rescale it to the new pixels."""
    height, width = flow.shape[-2:]
    dx, dy = F.interpolate(flow, size, mode="bilinear", align_corners=False).unbind(1)
    return torch.stack([dx * (size[1] / width), dy * (size[0] / height)], 1)


def flip_flow(flow: Tensor) -> Tensor:
    """The flow (B, 2, H, W) between the horizontally flipped frames."""
    return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(1, 2, 1, 1)


def consistency_mask(forward: Tensor, backward: Tensor, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """Where forward and backward flow undo each other, i.e. where t's pixel is visible in s.

    |f + b(p + f)|^2 <= alpha (|f|^2 + |b(p + f)|^2) + beta, Sundaram et al., ECCV 2010, Eq. 5.

    Args:
        forward: (B, 2, H, W) flow from t to s.
        backward: (B, 2, H, W) flow from s to t.
        alpha: share of the flows' squared lengths that is tolerated.
        beta: tolerated squared pixels at zero flow.

    Returns:
        (B, 1, H, W) bool; False also where p + f leaves the image.
    """
    back = warp(backward, forward, "border")
    gap = (forward + back).square().sum(1, keepdim=True)
    bound = alpha * (forward.square() + back.square()).sum(1, keepdim=True) + beta
    x, y = _targets(forward)
    inside = (x >= 0) & (x <= forward.shape[-1] - 1) & (y >= 0) & (y <= forward.shape[-2] - 1)
    return (gap <= bound) & inside.unsqueeze(1)


def _targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """(B, H, W) x and y coordinates that the flow points at."""
    height, width = flow.shape[-2:]
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, -1, 1)
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, -1)
    return xs + flow[:, 0], ys + flow[:, 1]
