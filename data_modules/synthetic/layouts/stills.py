"""What the stand-ins of labelled pictures with a list for each split share, and those of LIP and of CIHP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.cihp import CIHP, FOLDERS
from data_modules.datasets.lip import LIP
from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import write_instances
from data_modules.synthetic.layouts.shots import SceneWriter, Shot, write_list
from partwise.io.images import write_labels


@dataclass(frozen=True, kw_only=True)
class StillsWriter(SceneWriter):
    """Writes pictures of rendered people in the splits train and val, with a list of ids for each.

    Args:
        images: number of pictures of each split.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.

    Attributes:
        dataset: its name in the progress bar.
        ids: format of an id: {number} from 1 over both splits.
        stream: number of the dataset, so that stand-ins of different datasets show different people.
    """

    splits = ("train", "val")
    dataset: ClassVar[str]
    ids: ClassVar[str]
    stream: ClassVar[int]

    images: Mapping[str, int]
    severity: float = 0.3
    domain: str = "video"

    def write(self, root: Path) -> None:
        """Writes the lists and the pictures into the empty folder `root`."""
        shots = self.plan(self.shot(root, self.domain), self.images, self.ids, stream=self.stream)
        for split in self.splits:
            write_list(self.list_file(root, split), shots, split)
        pool.run(self.write_picture, shots, f"rendering {self.dataset}'s stand-in", self.workers)

    @abstractmethod
    def list_file(self, root: Path, split: str) -> Path:
        """Returns the file that lists the ids of a split."""

    @abstractmethod
    def write_picture(self, shot: Shot) -> None:
        """Writes one picture with its labels."""


@dataclass(frozen=True, kw_only=True)
class LIPWriter(StillsWriter):
    """Writes TrainVal_images/ and TrainVal_parsing_annotations/ with one rendered person a picture.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "lip"
    dataset = "LIP"
    ids = "{number}_1{number:06d}"
    stream = 11

    size: Sequence[int] = (192, 128)
    domain: str = "single"

    def list_file(self, root: Path, split: str) -> Path:
        """Returns TrainVal_images/SPLIT_id.txt."""
        return root / "TrainVal_images" / f"{split}_id.txt"

    def write_picture(self, shot: Shot) -> None:
        """Writes one picture with its label map."""
        frame = shot.picture(shot.root / "TrainVal_images" / f"{shot.split}_images" / f"{shot.name}.jpg")
        labels = shot.root / "TrainVal_parsing_annotations" / f"{shot.split}_segmentations" / f"{shot.name}.png"
        write_labels(labels, frame.parts(LIP.label_set), LIP.label_set.colors)


@dataclass(frozen=True, kw_only=True)
class CIHPWriter(StillsWriter):
    """Writes instance-level_human_parsing/{Training,Validation}/ with one to six rendered people a picture.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "cihp"
    dataset = "CIHP"
    ids = "{number:07d}"
    stream = 12

    def list_file(self, root: Path, split: str) -> Path:
        """Returns {Training/train,Validation/val}_id.txt."""
        return _cihp_folder(root, split) / f"{split}_id.txt"

    def write_picture(self, shot: Shot) -> None:
        """Writes one picture with its parts, persons and part instances."""
        folder = _cihp_folder(shot.root, shot.split)
        frame = shot.picture(folder / "Images" / f"{shot.name}.jpg")
        write_instances(folder, shot.name, frame, CIHP.label_set)


def _cihp_folder(root: Path, split: str) -> Path:
    return root / "instance-level_human_parsing" / FOLDERS[split]
