"""FlowNet-C's correlation layer: the similarity of each position of a feature to the positions around it in another.

Computed by batched matrix products: the positions of a row times whole rows around it, of which the band within the
displacement is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation(target: Tensor, source: Tensor, displacement: int = 20, step: int = 2) -> Tensor:
    """Correlate two features: the mean of target[p] * source[p + d] over channels (Dosovitskiy et al., ICCV 2015).

    Args:
        target: (B, C, H, W) feature.
        source: (B, C, H, W) feature; zero outside.
        displacement: largest |dx| and |dy| in pixels, a multiple of `step`.
        step: pixels between displacements.

    Returns:
        (B, n * n, H, W), n = 2 * displacement / step + 1, float32 or wider; dy varies slowest, dx and dy ascend.

    Raises:
        ValueError: the features' shapes differ, or `displacement` is no multiple of `step`.
    """
    if target.shape != source.shape or target.ndim != 4:
        raise ValueError(f"features {tuple(target.shape)} and {tuple(source.shape)}: want two (B, C, H, W) alike")
    if step < 1 or displacement < 0 or displacement % step:
        raise ValueError(f"displacement {displacement} is no multiple of step {step}")
    wide = torch.promote_types(target.dtype, torch.float32)
    with torch.autocast(target.device.type, enabled=False):
        result: Tensor = _Correlation.apply(target.to(wide), source.to(wide), displacement, step)
    return result


class _Correlation(torch.autograd.Function):
    """Solves one dense problem for each class of positions whose coordinates have the same remainders modulo `step`.

    Only positions of one class are compared, at consecutive displacements in the class's grid.
    """

    @staticmethod
    def forward(ctx: Any, target: Tensor, source: Tensor, displacement: int, step: int) -> Tensor:
        ctx.reach, ctx.step = displacement // step, step
        a, b = _channels_last(target), F.pad(_channels_last(source), (0, 0, *[displacement] * 4))
        ctx.save_for_backward(a, b)
        n, (batch, height, width, channels) = 2 * ctx.reach + 1, a.shape
        result = a.new_empty(batch, n, n, height, width)
        for (rows, columns), image, x, y in _classes(a, b, step):
            products = torch.bmm(x, _surroundings(y, len(x), n).transpose(1, 2))
            result[image, :, :, rows, columns] = _band(products, y.shape[1], n).permute(2, 3, 0, 1)
        return result.div_(channels).flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        n, margin = 2 * ctx.reach + 1, ctx.reach * ctx.step
        grad = (grad / a.shape[-1]).unflatten(1, (n, n))
        grad_a, grad_b = torch.empty_like(a), torch.empty_like(b)
        for ((rows, columns), image, x, y), (_, _, grad_x, grad_y) in zip(
            _classes(a, b, ctx.step), _classes(grad_a, grad_b, ctx.step, copy=False), strict=True
        ):
            products = x.new_zeros(len(x), x.shape[1], n * y.shape[1])
            _band(products, y.shape[1], n).copy_(grad[image, :, :, rows, columns].permute(2, 3, 0, 1))
            grad_x.copy_(torch.bmm(products, _surroundings(y, len(x), n)))
            total = torch.zeros_like(y)
            for i, part in enumerate(products.unflatten(2, (n, -1)).unbind(2)):
                total[i : i + len(x)].baddbmm_(part.transpose(1, 2), x)
            grad_y.copy_(total)
        inside = grad_b[:, margin : margin + a.shape[1], margin : margin + a.shape[2]]
        return grad_a.permute(0, 3, 1, 2), inside.permute(0, 3, 1, 2), None, None


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def _classes(
    a: Tensor, b: Tensor, step: int, copy: bool = True
) -> Iterator[tuple[tuple[slice, slice], int, Tensor, Tensor]]:
    """Yield the rows and columns, the image and the (H', W', C) of both features per class; views unless `copy`."""
    for i in range(step):
        for j in range(step):
            rows, columns = slice(i, None, step), slice(j, None, step)
            for image in range(len(a)):
                x, y = a[image, rows, columns], b[image, rows, columns]
                if x.numel():
                    yield (rows, columns), image, *((x.contiguous(), y.contiguous()) if copy else (x, y))


def _surroundings(y: Tensor, height: int, n: int) -> Tensor:
    """View the n rows around each of `height` rows as one row: (height, n * W', C); y must be contiguous."""
    _, width, channels = y.shape
    return y.as_strided((height, n * width, channels), (width * channels, channels, 1))


def _band(products: Tensor, width: int, n: int) -> Tensor:
    """View those products (H', W, n * width) that belong to the n columns around each position: (H', W, n, n)."""
    height, positions, row = products.shape
    return products.as_strided((height, positions, n, n), (positions * row, row + 1, width, 1))
