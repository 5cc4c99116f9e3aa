"""Read LIP and CIHP: each split has its own folders of pictures and of label maps with the same names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.images import LabelledImages
from data_modules.formats.label_maps import read_parts
from data_modules.formats.layout import given_ids, no_such_split, read_list
from data_modules.loading.transforms import Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import read_image


@dataclass(frozen=True)
class SplitFolder:
    """Files of one split.

    Attributes:
        images: folder of `ID.jpg`.
        parts: folder of `ID.png`, class ids.
        ids: text file, one id a line.
    """

    images: Path
    parts: Path
    ids: Path


class FolderedImages(LabelledImages):
    """Pictures with parts; subclasses find the folders of their splits.

    Args:
        root: folder of the layout, or the one above it.
        split: "train", "val", or the ids themselves, of either.
        transform: makes the training or evaluation sample.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        dataset: its name in messages.
        folders: id -> folders of its split.
    """

    dataset: ClassVar[str]

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the ids, and the folders of each."""
        present = self.find_splits(self.root)
        if not isinstance(split, str):
            ids = given_ids(split)
            self.folders = {name: self._holding(name, present) for name in ids}
            return ids
        if split not in present:
            raise no_such_split(self.dataset, split, present, self.root)
        ids = read_list(present[split].ids)
        self.folders = dict.fromkeys(ids, present[split])
        return ids

    @staticmethod
    @abstractmethod
    def find_splits(root: Path) -> dict[str, SplitFolder]:
        """Return the splits that exist in `root`; raise InputError if there is none."""

    def picture(self, index: int) -> UInt8Array:
        """Read the picture (H, W, 3), RGB, at its native size."""
        name = self.ids[index]
        return read_image(self.folders[name].images / f"{name}.jpg", upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the parts.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts.
        """
        return Labels(parts=read_parts(self.folders[name].parts / f"{name}.png", self.label_set, size))

    def _holding(self, name: str, present: Mapping[str, SplitFolder]) -> SplitFolder:
        for folder in present.values():
            if (folder.images / f"{name}.jpg").is_file():
                return folder
        where = ", ".join(str(folder.images) for folder in present.values())
        raise InputError(f"data.splits lists {name!r}, but {name}.jpg is not in {where}; take it off the list")
