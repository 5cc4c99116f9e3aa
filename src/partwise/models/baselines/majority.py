"""The baseline that needs no image: every pixel has the most frequent class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from partwise.batches import ClipBatch, ImageBatch, InstanceMap, Parsing, pictures
from partwise.errors import InputError
from partwise.ops.resize import Letterbox


class MajorityClass(nn.Module):
    """A parser that predicts one class at every pixel, and no persons.

    Args:
        part: id of the predicted class.
    """

    name = "majority"  # names its row in a run's metrics

    def __init__(self, part: int) -> None:
        super().__init__()
        self.part = part

    @classmethod
    def of(cls, data: Any, samples: int = 64) -> MajorityClass:
        """Predict the most frequent class of a DataModule's first training samples.

        Args:
            data: DataModule with a training split and a label set.
            samples: number of samples that are counted.

        Returns:
            the parser.
        """
        dataset, classes = data.dataset("train"), data.label_set.num_classes
        counts = torch.zeros(256, dtype=torch.int64)
        for index in range(min(samples, len(dataset))):
            counts += torch.bincount(dataset[index]["parts"].flatten(), minlength=256)
        return cls(int(counts[:classes].argmax()))

    def losses(self, batch: ImageBatch | ClipBatch) -> dict[str, Tensor]:
        """Refuse to train.

        Raises:
            InputError: always.
        """
        raise InputError(f"{type(self).__name__} has no losses: it can be scored but not trained")

    def parse(self, batch: ImageBatch | ClipBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Predict the class at every pixel of each sample.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B pictures lies on the canvas.

        Returns:
            B parsings at the pictures' native sizes.
        """
        return [self._guess(pictures(batch), letterbox) for letterbox in letterboxes]

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Predict the class at every pixel of each frame of a video.

        Args:
            frames: (1, 3, H, W) each, in order.
            letterbox: how the frames lie on the canvas.

        Returns:
            one parsing per frame at its native size, in order.
        """
        return (self._guess(frame, letterbox) for frame in frames)

    def _guess(self, images: Tensor, letterbox: Letterbox) -> Parsing:
        nowhere = torch.zeros(letterbox.native, dtype=torch.int64, device=images.device)
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
