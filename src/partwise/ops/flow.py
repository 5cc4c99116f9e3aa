"""Optical flow in the papers' convention: `flow_t_to_s[p] = q - p`, where pixel p of frame t is found at q in frame s.

Hence `warp(x_s, flow_t_to_s)` is aligned with t (backward warping). Flow is (dx, dy) in pixels of its own grid:
resizing a flow rescales its values, and flipping it negates dx.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap
from torch import Tensor


def warp(x: Tensor, flow: Tensor, padding: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Sample `x` at p + flow[p], bilinearly (TCNet Eq. 2, ATEN's W(F, flow)).

    Coordinates are float32 or wider: from 64 on, bfloat16 resolves half pixels only.

    Args:
        x: (B, C, H, W) features, scores or images of frame s.
        flow: (B, 2, H, W) flow from t to s, pixels.
        padding: "zeros" for scores and features, "border" for images.

    Returns:
        (B, C, H, W) of x's type, aligned with t. Identity and integer shifts are exact to 2e-4.

    Raises:
        ValueError: the shapes of `x` and `flow` do not fit.
    """
    if flow.shape[1] != 2 or flow.shape[-2:] != x.shape[-2:] or flow.shape[0] != x.shape[0]:
        raise ValueError(f"flow {tuple(flow.shape)} does not fit x {tuple(x.shape)}: want (B, 2, H, W) of x")
    wide = torch.promote_types(torch.promote_types(flow.dtype, x.dtype), torch.float32)
    # Normalise here: kornia would make a tensor of the sizes, for which the host would wait for the device.
    map_x, map_y = (
        2 / max(side - 1, 1) * place - 1
        for side, place in zip((x.shape[-1], x.shape[-2]), targets(flow.to(wide)), strict=True)
    )
    with torch.autocast(x.device.type, enabled=False):
        warped = remap(x.to(wide), map_x, map_y, "bilinear", padding, align_corners=True, normalized_coordinates=True)
    return warped.to(x.dtype)


def sample_flow(flow: Tensor, places: Tensor) -> Tensor:
    """Sample a flow at places between pixels, bilinearly; outside the image, at its border.

    Args:
        flow: (B, 2, H, W), pixels.
        places: (B, N, 2) x, y in pixels.

    Returns:
        (B, N, 2) (dx, dy) of the places' type.
    """
    wide = torch.promote_types(torch.promote_types(flow.dtype, places.dtype), torch.float32)
    size = places.new_tensor([flow.shape[-1], flow.shape[-2]], dtype=wide)
    grid = (2 * places.to(wide) + 1) / size - 1
    with torch.autocast(flow.device.type, enabled=False):
        sampled = F.grid_sample(flow.to(wide), grid[:, None], "bilinear", "border", align_corners=False)
    return sampled[:, :, 0].mT.to(places.dtype)


def resize_flow(flow: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Resize a flow bilinearly and rescale its values to the new pixels.

    Args:
        flow: (B, 2, H, W), pixels of its own grid.
        size: (height, width) of the result.
        align_corners: align the centres of both grids' corner pixels; otherwise their outer edges.

    Returns:
        (B, 2, *size), pixels of the new grid.
    """
    height, width = flow.shape[-2:]
    less = 1 if align_corners else 0  # sides measured between the centres of the corner pixels
    ratios = [(new - less) / max(old - less, 1) for new, old in ((size[1], width), (size[0], height))]
    resized = F.interpolate(flow, size, mode="bilinear", align_corners=align_corners)
    return torch.stack([part * ratio for part, ratio in zip(resized.unbind(1), ratios, strict=True)], 1)


def enlarge_flow(flow: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Enlarge a flow whose pixel i lies at pixel `stride` * i of the larger grid, as strided convolutions place it.

    With sides of `stride` * n + 1 pixels the corner pixels coincide. Beyond the last pixel the flow is repeated.

    Args:
        flow: (B, 2, h, w), pixels of its own grid.
        size: (height, width) of the result, at most `stride` times (h, w).
        stride: pixels of the larger grid between neighbouring pixels of the flow.

    Returns:
        (B, 2, *size), pixels of the larger grid.
    """
    height, width = flow.shape[-2:]
    longer = F.pad(flow, [0, 1, 0, 1], mode="replicate")
    whole = resize_flow(longer, (stride * height + 1, stride * width + 1), align_corners=True)
    return whole[..., : size[0], : size[1]]


def centred_mean(x: Tensor, stride: int) -> Tensor:
    """Downsample by means centred at every `stride`-th pixel from the first on, where strided convolutions have theirs.

    Args:
        x: (B, C, H, W) images or flow; values are not rescaled.
        stride: even; a window extends half of it to all sides and is cut at the border.

    Returns:
        (B, C, h, w), sides divided by the stride and rounded up.
    """
    return F.avg_pool2d(x, stride + 1, stride, stride // 2, count_include_pad=False)


def flip_flow(flow: Tensor) -> Tensor:
    """Flip a flow (B, 2, H, W) horizontally: the flow between the flipped frames."""
    return flow.flip(-1) * flow.new_tensor([-1.0, 1.0]).view(1, 2, 1, 1)


def consistency_mask(forward: Tensor, backward: Tensor, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """Mark the pixels of t that are visible in s, where forward and backward flow cancel out.

    |f + b(p + f)|^2 <= alpha (|f|^2 + |b(p + f)|^2) + beta, Sundaram et al., ECCV 2010, Eq. 5.

    Args:
        forward: (B, 2, H, W) flow from t to s, pixels.
        backward: (B, 2, H, W) flow from s to t, pixels.
        alpha: tolerated squared difference per squared length of the flows.
        beta: tolerated squared difference at zero flow, squared pixels.

    Returns:
        (B, 1, H, W) bool; False also where p + f leaves the image.
    """
    back = warp(backward, forward, "border")
    gap = (forward + back).square().sum(1, keepdim=True)
    bound = alpha * (forward.square() + back.square()).sum(1, keepdim=True) + beta
    x, y = targets(forward)
    inside = (x >= 0) & (x <= forward.shape[-1] - 1) & (y >= 0) & (y <= forward.shape[-2] - 1)
    return (gap <= bound) & inside.unsqueeze(1)


def targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the x and y coordinates p + flow[p] of a flow (B, 2, H, W), (B, H, W) each."""
    height, width = flow.shape[-2:]
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, -1, 1)
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, -1)
    return xs + flow[:, 0], ys + flow[:, 1]
