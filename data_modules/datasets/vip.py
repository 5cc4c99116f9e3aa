"""VIP, Video Instance-level Parsing, read from its native layout (VIP_Fine)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.datasets.clips import AroundClips, numbered
from data_modules.formats.label_maps import (
    CATEGORY_IDS,
    HUMAN_IDS,
    INSTANCE_IDS,
    read_part_instances,
    read_parts,
    read_persons,
)
from data_modules.formats.layout import check_folders, given_ids, read_split
from data_modules.loading.transforms import Labels
from partwise.batches import Annotation
from partwise.errors import InputError
from partwise.labels import VIP as LABELS

#: Published numbers; every 25th frame of a video is annotated.
PUBLISHED = {
    "in all": {"videos": 404, "annotated frames": 21247},
    "train": {"videos": 304},
    "val": {"videos": 50},
    "test": {"videos": 50},
}

#: Folders of annotated frames, of the frames around them, of the labels if they are not at the root, and of the lists.
IMAGES, ADJACENT, LABELLED, LISTS = "Images", "adjacent_frames", "Annotations", "lists"


class VIP(AroundClips):
    """Annotated frames of VIP with parts, persons and part instances: single pictures, or clips of key frames for ATEN.

    Layout: `Images/videosN/%012d.jpg`; `Category_ids`, `Human_ids` and `Instance_ids` with the same names as PNG,
    at the root or under `Annotations/`; `Instance_ids/....txt` rows "part_instance_id class_id human_id";
    `lists/SPLIT_id.txt` rows "videosN/ID"; for clips also VIP_Sequence's `adjacent_frames/videosN/ID/%012d.jpg`.
    Nothing but the lists is read before a sample is asked for.

    Args:
        root: folder of the layout.
        split: name of a list, or the ids themselves.
        transform: makes the training or evaluation clip.
        around: chooses the frames that go with the annotated one; None makes samples single pictures.
        seed: of the draws and the augmentation; None is evaluation.
        annotations: whether samples have the native ground truth (evaluation).

    Attributes:
        labels_root: folder of the labels.
    """

    label_set = LABELS
    evenly_numbered = True

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the ids, and the folder of the labels."""
        below = f"{LABELLED}/" if (self.root / LABELLED).is_dir() else ""
        folders = (IMAGES, f"{below}{CATEGORY_IDS}", f"{below}{HUMAN_IDS}")
        check_folders(self.root, "VIP", folders, "Images/, Category_ids/ (or Annotations/Category_ids/) and lists/")
        if self.around is not None and not (self.root / ADJACENT).is_dir():
            raise InputError(
                f"{self.root}/{ADJACENT}/ is missing: the frames around the annotated ones come from "
                "VIP_Sequence; unpack it there, or leave data.around unset"
            )
        self.labels_root = self.root / below
        return read_list(self.root, split) if isinstance(split, str) else given_ids(split)

    def file(self, index: int) -> Path:
        """Return the path of the annotated frame."""
        return self.root / IMAGES / f"{self.ids[index]}.jpg"

    def video(self, index: int) -> tuple[int, Mapping[int, Path]]:
        """Return the number of the annotated frame, and number -> file of it and of those adjacent to it."""
        target = self.file(index)
        number = int(target.stem)
        return number, {**numbered(self.root / ADJACENT / self.ids[index]), number: target}

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read parts and person ids.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts and persons.
        """
        parts = read_parts(self.labels_root / CATEGORY_IDS / f"{name}.png", self.label_set, size)
        return Labels(parts=parts, persons=read_persons(self.labels_root / HUMAN_IDS / f"{name}.png", size))

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """Return the native ground truth: parts, persons and part instances.

        Args:
            name: id of the picture.
            labels: output of `labels`.

        Returns:
            Maps in the integers that they were read in: small to hand from process to process.
        """
        truth = super().annotation(name, labels)
        file = self.labels_root / INSTANCE_IDS / f"{name}.png"
        truth["part_instances"] = read_part_instances(file, labels["parts"].shape, self.label_set.num_classes)
        return truth


def read_list(root: Path, split: str) -> list[str]:
    """Read the ids of a split.

    Args:
        root: folder of the layout.
        split: name of a list.

    Returns:
        Ids "videosN/ID".

    Raises:
        InputError: the list is missing or empty.
    """
    return read_split("VIP", root / LISTS, split)
