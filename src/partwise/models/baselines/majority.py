"""The guess that needs no image: every pixel has the most frequent class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from partwise.batches import InstanceMap, Parsing


class MajorityClass(nn.Module):
    """A parser that answers one class everywhere and finds nobody.

    Args:
        part: the class to answer.
    """

    name = "majority"  # of its row among a run's figures

    def __init__(self, part: int) -> None:
        super().__init__()
        self.part = part

    @classmethod
    def of(cls, data: Any, samples: int = 64) -> MajorityClass:
        """The most frequent class of a DataModule's first training samples."""
        dataset, classes = data.dataset("train"), data.label_set.num_classes
        counts = torch.zeros(256, dtype=torch.int64)
        for index in range(min(samples, len(dataset))):
            counts += torch.bincount(dataset[index]["parts"].flatten(), minlength=256)
        return cls(int(counts[:classes].argmax()))

    def parse(self, *inputs: Any) -> list[Parsing]:
        """The same answer for every image, at its native size: of images, and whatever goes with them, letterboxes."""
        images, letterboxes = inputs[0], inputs[-1]
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
