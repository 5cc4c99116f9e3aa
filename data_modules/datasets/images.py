"""Make samples of labelled pictures: what all readers of such pictures share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Dataset

from data_modules.formats.label_maps import number_persons
from data_modules.loading.sampling import Draw
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import UInt8Array
from partwise.batches import Annotation
from partwise.labels import LabelSet


class LabelledImages(Dataset[dict[str, Any]]):
    """Pictures with labels, read when they are asked for.

    Args:
        root: folder of the layout.
        split: name of a split, or the ids themselves.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        ids: of the samples, in order.
        label_set: of the parts.
        evenly_numbered: whether ids are SEQUENCE/NUMBER at one distance, so that a gap means that something is missing.
    """

    ids: list[str]
    label_set: ClassVar[LabelSet]
    evenly_numbered: ClassVar[bool] = False

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.root, self.transform, self.seed, self.annotations = root, transform, seed, annotations
        self.ids = self.find_ids(split)

    @abstractmethod
    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Check the layout and find the ids of a split; may keep other findings about the files.

        Args:
            split: name of a split, or the ids themselves.

        Returns:
            The ids in order.

        Raises:
            InputError: the layout, the split or one of the ids does not exist.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sample: image (3, H, W) uint8, the labels there are, index, sample_id and perhaps its annotation."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        sample = self.sample(index, epoch, [self.picture(index)])
        sample["images"] = sample.pop("frames")[0]
        return sample

    def sample(self, index: int, epoch: int, frames: Sequence[UInt8Array]) -> dict[str, Any]:
        """Make a sample of frames of one size and the labels of the last one.

        Args:
            index: of the sample.
            epoch: that its augmentation follows from.
            frames: (H, W, 3) uint8 RGB each, the labelled one last.

        Returns:
            Fields of `ClipTransform`, index, sample_ids and perhaps annotations.
        """
        name = self.ids[index]
        labels = self.labels(name, frames[-1].shape[:2])
        seed = None if self.seed is None else (self.seed, epoch, index)
        sample: dict[str, Any] = {**self.transform(frames, labels, seed=seed), "index": index, "sample_ids": name}
        if self.annotations:
            sample["annotations"] = self.annotation(name, labels)
        return sample

    @abstractmethod
    def picture(self, index: int) -> UInt8Array:
        """Read the picture (H, W, 3), RGB, at its native size."""

    @abstractmethod
    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the labels of a picture.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Those of parts, persons and keypoints that are known.
        """

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """Return the native ground truth: parts and, where they are known, persons.

        Args:
            name: id of the picture.
            labels: output of `labels`.

        Returns:
            Maps in the integers that they were read in: small to hand from process to process.
        """
        truth = Annotation(parts=torch.from_numpy(labels["parts"]))
        if "persons" in labels:
            truth["persons"] = number_persons(labels["persons"])
        return truth
