"""A person whose parts are bars along the limbs, in any pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from partwise.models.pose_transfer.library import Person
from partwise.models.pose_transfer.skeleton import Skeleton

SKELETONS = Path(__file__).parents[2] / "experiments" / "skeleton"
SIZE = (200, 120)

#: A standing body in MPII's order, x, y in pixels of a picture of `SIZE`.
STANDING = torch.tensor([
    (42, 185, 2), (45, 145, 2), (50, 105, 2), (70, 105, 2), (75, 145, 2), (78, 185, 2), (60, 105, 2), (60, 60, 2),
    (60, 45, 2), (60, 15, 2), (25, 115, 2), (30, 80, 2), (42, 50, 2), (78, 50, 2), (90, 80, 2), (95, 115, 2),
], dtype=torch.float32)  # fmt: skip


def skeleton(name: str = "person") -> Skeleton:
    """Read a skeleton of the experiments."""
    made: Skeleton = instantiate(OmegaConf.load(SKELETONS / f"{name}.yaml"))
    return made


def turned(degrees: float = 0.0, scale: float = 1.0, jitter: float = 0.0, seed: int = 0) -> Tensor:
    """`STANDING` turned about its middle, scaled, and with every joint shaken."""
    angle = float(np.deg2rad(degrees))
    turn = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).float()
    middle = torch.tensor([60.0, 100.0])
    noise = jitter * torch.randn(16, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([(STANDING[:, :2] - middle) @ turn.T + middle + noise, STANDING[:, 2:]], 1)


def drawn(kind: Skeleton, pose: Tensor, part: int | None = None, width: int = 9) -> Person:
    """The person with a bar of `width` pixels along every limb, cut off square at its ends; or with one part alone."""
    parts = np.zeros(SIZE, np.uint8)
    pixels = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), -1)
    ends, known = kind.ends(pose[None].double())
    for p, (start, end) in enumerate(ends[0].numpy()):
        if known[0, p] and part in (None, p):
            way = (end - start) / np.linalg.norm(end - start)
            along, across = (pixels - start) @ way, (pixels - start) @ (way[::-1] * (1, -1))
            parts[(along >= 0) & (along <= np.linalg.norm(end - start)) & (abs(across) <= width / 2)] = p + 1
    return Person(torch.from_numpy(parts), pose)
