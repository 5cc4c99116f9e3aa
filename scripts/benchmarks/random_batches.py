"""Batches of random pictures with people of plausible sizes, as `partwise.batches` describes them."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from partwise.models.flow_task import FlowTask
from partwise.ops.resize import canvas_size

PERSONS = 3  # in every picture, about as many as VIP has


def random_batch(cfg: DictConfig, task: Any, device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """A training batch of the experiment's own size, number of frames and kind.

    Args:
        cfg: composed config of the experiment.
        task: made from it.
        device: where the tensors go.
        seed: equal seeds give equal batches.

    Returns:
        An `ImageBatch`, a `ClipBatch` or a `FlowBatch`; pixels are float32 in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    count, (height, width) = int(cfg.data.batch_size), training_size(cfg)
    batch: dict[str, Any] = {"index": list(range(count)), "sample_ids": [f"random/{n}" for n in range(count)]}
    offsets = frame_offsets(cfg)
    if offsets:
        batch["frames"] = torch.rand(count, len(offsets), 3, height, width, generator=generator)
        batch["offsets"] = torch.tensor([offsets] * count)
    else:
        batch["images"] = torch.rand(count, 3, height, width, generator=generator)
    if isinstance(task, FlowTask):
        batch["flow"] = 5 * torch.randn(count, 2, height, width, generator=generator)
    else:
        people = torch.stack([_people(height, width, generator) for _ in range(count)])
        classes = torch.randint(1, cfg.num_classes, people.shape, generator=generator)
        batch |= {"instances": people, "parts": torch.where(people > 0, classes, 0)}
    return {name: x.to(device) if isinstance(x, Tensor) else x for name, x in batch.items()}


def training_size(cfg: DictConfig) -> tuple[int, int]:
    """(height, width) in pixels of a training sample."""
    return canvas_size(cfg.data.get("crop") or cfg.image_size)


def frame_offsets(cfg: DictConfig) -> list[int]:
    """Frames from the target to each of a training clip's, the target's own 0 last; none for single pictures."""
    around, data = cfg.data.get("around"), cfg.data
    if around is not None and "interval" in around:  # a key frame just before the target, others further back
        return [-1 - around.interval * step for step in range(around.past, -1, -1)] + [0]
    if around is not None:
        return [-1, 1, 0]
    if "pairs" in (data.get("synthetic") or {}):
        return [-1, 0]
    return [-offset for offset in data.get("offsets") or ()] + ([0] if data.get("offsets") else [])


def _people(height: int, width: int, generator: torch.Generator) -> Tensor:
    """(H, W) ids of upright boxes beside each other, 0.4 to 0.9 of the height."""
    ids = torch.zeros(height, width, dtype=torch.int64)
    for n in range(PERSONS):
        tall, place = torch.rand(2, generator=generator).tolist()
        rows, columns = round(height * (0.4 + 0.5 * tall)), max(2, round(width * (0.1 + 0.1 * tall)))
        top = round((height - rows) * place)
        left = round((width - columns) * (n + place) / PERSONS)
        ids[top : top + rows, left : left + columns] = n + 1
    return ids
