"""The guess that needs no image: every pixel has the most frequent class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partwise.batches import InstanceMap, Parsing
from partwise.ops.resize import Letterbox


class MajorityClass(nn.Module):
    """A parser that answers one class everywhere and finds nobody.

    Args:
        part: the class to answer.
    """

    def __init__(self, part: int) -> None:
        super().__init__()
        self.part = part

    def parse(self, images: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """The same answer for every image, at its native size."""
        return [self._guess(images, letterbox.native) for letterbox in letterboxes]

    def _guess(self, images: Tensor, size: tuple[int, int]) -> Parsing:
        nowhere = torch.zeros(size, dtype=torch.int64, device=images.device)
        nobody = InstanceMap(
            map=nowhere,
            classes=nowhere.new_zeros(0),
            scores=torch.zeros(0, device=images.device),
        )
        return Parsing(
            parts=torch.full_like(nowhere, self.part),
            persons=nobody,
            boxes=torch.zeros(0, 4, device=images.device),
            part_instances=nobody,
        )
