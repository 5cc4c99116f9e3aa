"""Mean field of a fully connected CRF with Gaussian kernels (Kraehenbuehl and Koltun, NeurIPS 2011), differentiable.

Labels are penalised for disagreeing (Potts), each by the same weights, so that any number of labels will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from partwise.ops.permutohedral import Lattice
from partwise.ops.windows import bilateral, gaussian, radius_for

Method = Literal["auto", "window", "lattice"]

LARGEST = 12  # radius, pixels, beyond which the lattice takes over: a window of 25 x 25 costs as much
TOLERANCE = 5e-4  # share of a kernel's mass that its window may leave out: radius 7 for theta = 2
_FEW = 16  # labels; a softmax over a shorter last dimension is slow


class Filter(Protocol):
    """A linear filter of the pixels of one image."""

    def apply(self, values: Tensor) -> Tensor:
        """Filter values (N, L), one row a pixel."""
        ...

    def transpose(self, values: Tensor) -> Tensor:
        """Filter values (N, L) by the transposed matrix."""
        ...


def mean_field(
    unary: Tensor,
    image: Tensor,
    w: Sequence[float] | Tensor = (8.0, 2.0),
    theta: Sequence[float] = (2.0, 8.0, 2.0),
    num_iters: int = 3,
    *,
    method: Method = "auto",
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Update log-potentials by mean field: Q = softmax(u'), u' = u + w1 (K1 Q) / (K1 1) + w2 (K2 Q) / (K2 1).

    K1 is the bilateral kernel, K2 the spatial one; both include the pixel itself. Gradients reach the unary potentials
    and the weights, not the image.

    Args:
        unary: (..., L, H, W) log-potentials u.
        image: (..., 3, H, W) in 0..255.
        w: weights w1 of the bilateral and w2 of the spatial kernel: numbers or a tensor (2,).
        theta: standard deviations: alpha (position, pixels) and beta (colour) of the bilateral kernel, gamma (pixels)
            of the spatial one.
        num_iters: updates.
        method: "window", exact sums over windows; "lattice", the permutohedral lattice, which errs by several percent;
            "auto" takes windows of a radius up to `LARGEST`.
        tolerance: share of a kernel's mass, on a smooth image, that its window may leave out.

    Returns:
        the last u' (..., L, H, W), log-potentials whose softmax are the marginals; float32, or float64 if `unary` is.

    Raises:
        ValueError: the shapes do not fit, or `method` is none.
    """
    *batch, labels, height, width = unary.shape
    if image.shape != (*batch, 3, height, width):
        raise ValueError(f"unary {tuple(unary.shape)} and image {tuple(image.shape)}: want (..., 3, H, W) alike")
    if method not in ("auto", "window", "lattice"):
        raise ValueError(f"method={method} is none; take auto, window or lattice")
    wide = torch.promote_types(unary.dtype, torch.float32)
    with torch.autocast(unary.device.type, enabled=False):
        weights = torch.as_tensor(w, device=unary.device).to(wide)
        logits = unary.to(wide).reshape(-1, labels, height * width)
        pictures = image.detach().to(wide).reshape(-1, 3, height, width)
        results = [
            _iterate(u.T.contiguous(), _kernels(picture, theta, method, tolerance), weights, num_iters).T
            for u, picture in zip(logits, pictures, strict=True)
        ]
        return torch.stack(results).reshape(unary.shape) if results else unary.to(wide)


class Kernel:
    """A filter, normalised by the sums of its rows.

    Args:
        kernel: filter of N pixels.
        ones: (N, 1).
    """

    def __init__(self, kernel: Filter, ones: Tensor) -> None:
        self._kernel = kernel
        self._sums = kernel.apply(ones) + 1e-20

    def apply(self, values: Tensor) -> Tensor:
        """Average values (N, L) over each pixel's neighbours."""
        return self._kernel.apply(values).div_(self._sums)

    def transpose(self, values: Tensor) -> Tensor:
        """Apply the transposed matrix to values (N, L)."""
        return self._kernel.transpose(values / self._sums)


def _kernels(image: Tensor, theta: Sequence[float], method: Method, tolerance: float) -> tuple[Kernel, Kernel]:
    """Make the bilateral and the spatial kernel of an image (3, H, W)."""
    alpha, beta, gamma = theta
    height, width = image.shape[1:]
    ones = image.new_ones(height * width, 1)
    radii = [radius_for(t, tolerance) for t in (alpha, gamma)]
    by_window = [method == "window" or (method == "auto" and radius <= LARGEST) for radius in radii]
    ys, xs = (torch.arange(side, device=image.device, dtype=image.dtype) for side in (height, width))
    position = torch.stack(torch.broadcast_tensors(ys[:, None], xs), -1).view(-1, 2)
    first: Filter = (
        bilateral(image, alpha, beta, radii[0])
        if by_window[0]
        else Lattice(torch.cat([position / alpha, image.flatten(1).T / beta], 1))
    )
    second: Filter = gaussian(height, width, gamma, radii[1], image) if by_window[1] else Lattice(position / gamma)
    return Kernel(first, ones), Kernel(second, ones)


def _iterate(u: Tensor, kernels: tuple[Kernel, Kernel], weights: Tensor, num_iters: int) -> Tensor:
    """Update log-potentials u (N, L)."""
    updated = u
    for _ in range(num_iters):
        updated = u + _Messages.apply(_softmax(updated), weights, kernels)
    return updated


def _softmax(logits: Tensor) -> Tensor:
    if logits.shape[1] >= _FEW:
        return logits.softmax(1)
    return logits.T.contiguous().softmax(0).T.contiguous()


class _Messages(torch.autograd.Function):
    """w1 K1 q + w2 K2 q. Only q is kept: by <g, K q> = <K^T g, q> its gradient holds what those of w1 and w2 need."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, weights: Tensor, kernels: tuple[Kernel, Kernel]) -> Tensor:
        ctx.save_for_backward(q, weights)
        ctx.kernels = kernels
        first, second = kernels
        return first.apply(q).mul_(weights[0]).addcmul_(second.apply(q), weights[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        q, weights = ctx.saved_tensors
        grad = grad.contiguous()
        back = [kernel.transpose(grad) for kernel in ctx.kernels]
        of_weights = torch.stack([torch.linalg.vecdot(b, q).sum() for b in back])
        return back[0].mul_(weights[0]).addcmul_(back[1], weights[1]), of_weights, None
