"""Batches for the baselines, and some steps of training on one."""

from typing import Any

import torch
from torch import nn


def batch_of(data: Any, stage: str) -> dict[str, Any]:
    """The first batch of a stage, with images as networks take them."""
    batch = next(iter(getattr(data, f"{stage}_dataloader")()))
    return {**batch, "images": batch["images"].float() / 255}


def overfit(network: nn.Module, batch: Any, steps: int, lr: float) -> tuple[list[float], set[str]]:
    """Train on one batch; return the sums of the losses, and the parameters that no step had a gradient for."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), lr)
    untouched, history = set(trained), list[float]()
    learner: Any = network
    for _ in range(steps):
        total = torch.stack(list(learner.losses(batch).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        untouched -= {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
        history.append(float(total.detach()))
    return history, untouched
