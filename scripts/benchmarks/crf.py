"""Mean field of 521 x 521 pixels and three updates, beside pydensecrf (approximate) and an unfolded window (exact).

`uv run --with pydensecrf2 python scripts/bench.py crf` compiles that peer, in about a minute.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from benchmarks.timing import CPU, best_time
from partwise.ops.mean_field import mean_field
from partwise.ops.windows import radius_for
from partwise.run.process import keep_freed_memory

SIDE, UPDATES = 521, 3
THETA, WEIGHTS, TOLERANCE = (2.0, 8.0, 2.0), (8.0, 2.0), 5e-4
#: Bytes that 2 cores copy a second, and their multiplications and additions; the slower one is the limit.
BYTES, FLOPS = 40e9, 185e9


def run(device: torch.device = CPU, rounds: int = 2) -> list[Table]:
    """Tables of the time by the number of labels, and of its growth with the pixels."""
    torch.manual_seed(0)
    keep_freed_memory()  # as run.py does
    return [labels_table(device, rounds), pixels_table(device, rounds)]


def scene(labels: int, side: int, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Random potentials (L, H, W) and a smooth image (3, H, W) in 0..255 with some noise."""
    coarse = torch.rand(1, 3, 24, 24) * 255
    image = F.interpolate(coarse, (side, side), mode="bicubic")[0] + 4 * torch.randn(3, side, side)
    return torch.randn(labels, side, side, device=device), image.clamp(0, 255).to(device)


def labels_table(device: torch.device, rounds: int) -> Table:
    """Milliseconds of a pass by the number of labels; peak memory is that of ours, which runs before the peers."""
    columns = ("labels", "ours", "ours, f+b", "f+b of forward", "pydensecrf", "unfold", "limit", "peak memory, MB")
    table = Table(*columns, title=f"{SIDE} x {SIDE}, {UPDATES} updates, window of radius {_radius()}; ms")
    ours = {labels: _ours(labels, device, rounds) for labels in (7, 31, 121)}
    for labels, (forward, both, memory) in ours.items():
        unary, image = scene(labels, SIDE, device)
        theirs = _time(_pydensecrf(unary, image), rounds)
        unfolded = _time(None if labels > 31 or device.type != "cpu" else lambda u=unary, i=image: unfold(u, i), 1)  # type: ignore[misc]
        table.add_row(str(labels), f"{1000 * forward:.0f}", f"{1000 * both:.0f}", f"{both / forward:.2f}",
                      theirs, unfolded, f"{1000 * limit(labels):.0f}", f"{memory:.0f}")  # fmt: skip
    return table


def _ours(labels: int, device: torch.device, rounds: int) -> tuple[float, float, float]:
    """Seconds of forward, and of forward and backward, and the process's peak memory so far, MB."""
    unary, image = scene(labels, SIDE, device)
    forward = best_time(lambda: mean_field(unary, image), device, rounds)
    both = best_time(lambda: _backward(unary, image), device, rounds)
    return forward, both, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pixels_table(device: torch.device, rounds: int) -> Table:
    """Milliseconds of a pass with 31 labels by the image's side."""
    table = Table("pixels", "ours", "microseconds a pixel", title="growth, 31 labels; ms")
    for side in (131, 261, 521):
        unary, image = scene(31, side, device)
        t = best_time(lambda u=unary, i=image: mean_field(u, i), device, rounds)  # type: ignore[misc]
        table.add_row(f"{side} x {side}", f"{1000 * t:.0f}", f"{1e6 * t / side**2:.2f}")
    return table


def limit(labels: int) -> float:
    """Return seconds that the sums alone take, by arithmetic or by reading the weights once an update."""
    window = (2 * _radius() + 1) ** 2
    sums = 2 * window * labels * SIDE**2 / FLOPS
    return UPDATES * max(sums, (4 * window + 12 * labels) * SIDE**2 / BYTES)


def unfold(unary: Tensor, image: Tensor) -> Tensor:
    """Mean field as it is commonly written: each window of each label is copied out (as in ConvCRF)."""
    radius = _radius()
    side = 2 * radius + 1

    def windows(x: Tensor) -> Tensor:
        return F.unfold(x[None], side, padding=radius).view(len(x), side * side, -1)

    ones = windows(torch.ones_like(image[:1]))[0]
    grid = torch.arange(-radius, radius + 1).float()
    far = (grid[:, None].square() + grid.square()).flatten()[:, None]
    unlike = (windows(image) - image.flatten(1)[:, None]).square().sum(0)
    kernels = [(-far / 2 / THETA[0] ** 2 - unlike / 2 / THETA[1] ** 2).exp() * ones,
               (-far / 2 / THETA[2] ** 2).exp() * ones]  # fmt: skip
    kernels = [w * kernel / kernel.sum(0) for w, kernel in zip(WEIGHTS, kernels, strict=True)]
    kernel = kernels[0] + kernels[1]
    updated = unary
    for _ in range(UPDATES):
        q = updated.softmax(0)
        updated = unary + torch.stack([(windows(label[None])[0] * kernel).sum(0).view_as(label) for label in q])
    return updated


def _backward(unary: Tensor, image: Tensor) -> None:
    leaf, weights = unary.requires_grad_(), torch.tensor(WEIGHTS, device=unary.device, requires_grad=True)
    mean_field(leaf, image, weights).sum().backward()
    leaf.grad = None


def _pydensecrf(unary: Tensor, image: Tensor) -> Callable[[], object] | None:
    if find_spec("pydensecrf") is None or unary.device.type != "cpu":
        return None
    library = import_module("pydensecrf.densecrf")
    energy = np.ascontiguousarray(-unary.detach().flatten(1).numpy())
    pixels = np.ascontiguousarray(image.byte().permute(1, 2, 0).numpy())

    def infer() -> object:
        crf = library.DenseCRF2D(SIDE, SIDE, len(energy))
        crf.setUnaryEnergy(energy)
        crf.addPairwiseBilateral(
            sxy=THETA[0], srgb=THETA[1], rgbim=pixels, compat=WEIGHTS[0], normalization=library.NORMALIZE_AFTER
        )
        crf.addPairwiseGaussian(sxy=THETA[2], compat=WEIGHTS[1], normalization=library.NORMALIZE_AFTER)
        return crf.inference(UPDATES)

    return infer


def _time(work: Callable[[], object] | None, rounds: int) -> str:
    return "" if work is None else f"{1000 * best_time(work, CPU, rounds):.0f}"


def _radius() -> int:
    return radius_for(THETA[0], TOLERANCE)
