"""Write the stand-ins of LIP and CIHP, and share how pictures with a list for each split are written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets import cihp, lip
from data_modules.loading import pool
from data_modules.synthetic.layouts.instances import write_instances
from data_modules.synthetic.layouts.shots import SceneWriter, Shot
from data_modules.synthetic.layouts.writer import write_rows
from partwise.io.images import write_labels
from partwise.labels import CIHP, LIP


@dataclass(frozen=True, kw_only=True)
class StillsWriter(SceneWriter):
    """Writes pictures of rendered people in the splits train and val, with a list of ids for each.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.

    Attributes:
        lists: paths of the splits' lists below the root.
        dataset: its name in the progress bar.
        ids: format of an id: {number} from 1 over both splits.
        stream: number of the dataset, so that stand-ins of different datasets show different people.
    """

    splits = ("train", "val")
    lists: ClassVar[Sequence[str]]
    dataset: ClassVar[str]
    ids: ClassVar[str]
    stream: ClassVar[int]

    images: Mapping[str, int]
    severity: float = 0.3
    domain: str = "video"

    def write(self, root: Path) -> None:
        """Write the lists and the pictures into the empty folder `root`."""
        shots = self.plan(self.shot(root, self.domain), self.images, self.ids, stream=self.stream)
        for split, file in zip(self.splits, self.lists, strict=True):
            write_rows(root / file, [shot.name for shot in shots if shot.split == split])
        pool.run(self.write_picture, shots, f"rendering {self.dataset}'s stand-in", self.workers)

    @abstractmethod
    def write_picture(self, shot: Shot) -> None:
        """Write one picture with its labels."""


@dataclass(frozen=True, kw_only=True)
class LIPWriter(StillsWriter):
    """Writes TrainVal_images/ and TrainVal_parsing_annotations/ with one rendered person a picture.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "lip"
    lists = (f"{lip.IMAGES}/train_id.txt", f"{lip.IMAGES}/val_id.txt")
    dataset = "LIP"
    ids = "{number}_1{number:06d}"
    stream = 11

    size: Sequence[int] = (192, 128)
    domain: str = "single"

    def write_picture(self, shot: Shot) -> None:
        """Write one picture with its label map."""
        frame = shot.picture(shot.root / lip.IMAGES / lip.PICTURES.format(shot.split) / f"{shot.name}.jpg")
        labels = shot.root / lip.PARTS / lip.MAPS.format(shot.split) / f"{shot.name}.png"
        write_labels(labels, frame.parts(LIP), LIP.colors)


@dataclass(frozen=True, kw_only=True)
class CIHPWriter(StillsWriter):
    """Writes instance-level_human_parsing/{Training,Validation}/ with one to six rendered people a picture.

    Args:
        images: number of pictures of the splits train and val.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: of the scenes, key of `scene.DOMAINS`.
        workers: processes at most; None takes the cores available, up to eight.
    """

    name = "cihp"
    lists = tuple(f"{cihp.BASE}/{folder}/{split}_id.txt" for split, folder in cihp.FOLDERS.items())
    dataset = "CIHP"
    ids = "{number:07d}"
    stream = 12

    def write_picture(self, shot: Shot) -> None:
        """Write one picture with its parts, persons and part instances."""
        folder = shot.root / cihp.BASE / cihp.FOLDERS[shot.split]
        frame = shot.picture(folder / cihp.IMAGES / f"{shot.name}.jpg")
        write_instances(folder, shot.name, frame, CIHP)
