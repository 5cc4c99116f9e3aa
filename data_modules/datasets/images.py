"""What readers of single labelled pictures share: one sample from a picture, its parts and perhaps its persons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from data_modules.sampling import Draw
from data_modules.transforms import ClipTransform, Labels
from partwise.batches import Annotation, InstanceMap
from partwise.errors import InputError
from partwise.labels import LabelSet

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]


class LabelledImages(Dataset[dict[str, Any]]):
    """Pictures with labels, read when they are asked for.

    Args:
        root: folder of the layout.
        ids: of the samples.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: also hand out the native ground truth (evaluation).
    """

    label_set: ClassVar[LabelSet]

    #: Whether ids are SEQUENCE/NUMBER at one distance, so that a larger one means that something is missing.
    evenly_numbered: ClassVar[bool] = False

    def __init__(
        self, root: Path, ids: Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> None:
        self.root, self.ids, self.transform = root, list(ids), transform
        self.seed, self.annotations = seed, annotations

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sample: image (3, H, W) uint8, the labels there are, index, sample_id and perhaps its annotation."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        sample = self.sample(index, epoch, [self.picture(index)])
        sample["images"] = sample.pop("frames")[0]
        return sample

    def sample(self, index: int, epoch: int, frames: Sequence[UInt8]) -> dict[str, Any]:
        """Frames of one size, the labelled one last, with its labels: transformed, named, perhaps annotated."""
        name = self.ids[index]
        labels = self.labels(name, frames[-1].shape[:2])
        seed = None if self.seed is None else (self.seed, epoch, index)
        sample: dict[str, Any] = {**self.transform(frames, labels, seed=seed), "index": index, "sample_ids": name}
        if self.annotations:
            sample["annotations"] = self.annotation(name, labels)
        return sample

    @abstractmethod
    def picture(self, index: int) -> UInt8:
        """The picture (H, W, 3), RGB, at its native size."""

    @abstractmethod
    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """What is known of a picture of that size (H, W)."""

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """The ground truth, in the integers that it was read in: small to hand from process to process."""
        return Annotation(parts=torch.from_numpy(labels["parts"]))


def dense(ids: npt.NDArray[np.integer], classes: Mapping[int, int]) -> InstanceMap:
    """Renumber a sparse id map (H, W) to 1..n in ascending order of the ids; `classes` names each id's class.

    Maps of up to 255 objects are uint8, others int32: they are handed from process to process.
    """
    small = np.uint8 if len(classes) <= 255 else np.int32
    table = np.zeros(max(int(ids.max(initial=0)), max(classes, default=0)) + 1, dtype=small)
    for n, instance in enumerate(sorted(classes), 1):
        table[instance] = n
    return InstanceMap(
        map=torch.from_numpy(table[ids]),
        classes=torch.tensor([classes[i] for i in sorted(classes)], dtype=torch.int64),
    )


def check_size(labels: npt.NDArray[Any], size: Sequence[int], file: Path) -> None:
    """Raise InputError if labels (H, W) from `file` do not have their picture's size."""
    if labels.shape != tuple(size):
        raise InputError(
            f"{file} is {labels.shape[1]}x{labels.shape[0]} but its image is {size[1]}x{size[0]}; "
            "labels and images must be of one size"
        )
