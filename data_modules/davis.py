"""DAVIS by its 2016 protocol: the foreground of videos, for ATEN and frame-level parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A
from torch.utils.data import DataLoader, Dataset

from data_modules.base import ParsingDataModule, collate
from data_modules.datasets.davis import DAVIS, PUBLISHED, DAVISSequences
from data_modules.transforms import ClipTransform
from partwise.labels import IGNORE

#: Frames of a sequence that are shown, at most.
_SHOWN = 24


class DAVISDataModule(ParsingDataModule):
    """Frames or clips of two classes, background and foreground; every frame is labelled.

    Args:
        root: folder of the 2016 or the 2017 release; None renders the stand-in.
        image_size: side of the square canvas, or its (height, width), of evaluation.
        crop: (height, width) of random crops in training, at the frames' own size; None resizes whole frames to
            `image_size`.
        key_interval: l, frames from key to key; None yields single pictures.
        encoding_range: p, key frames beside the current one.
        former_only: training takes earlier key frames where they exist, instead of either side.
        sequences: val and test yield whole sequences, one a batch, instead of frames.
        splits: list names, or the sequences themselves, of train, val and test; the protocol tests on val.
        flip: probability of a horizontal flip in training.
        augment: further albumentations transforms of training samples, in order, after the crop.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.davis.write_davis`.
        batch_size: samples a process and step.
        num_workers: loader processes.
        seed: of shuffling, key frames and augmentation.
    """

    layout = """\
JPEGImages/480p/SEQ/00000.jpg
Annotations/480p/SEQ/00000.png    0 and 255 (2016), or ids of objects (2017)
ImageSets/480p/{train,val}.txt    rows of image and mask (2016), or
ImageSets/2016/{train,val}.txt    names of sequences (2017)"""
    published = PUBLISHED

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        image_size: int | Sequence[int] = (512, 896),
        crop: Sequence[int] | None = (384, 640),
        key_interval: int | None = None,
        encoding_range: int = 2,
        former_only: bool = False,
        sequences: bool = False,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            DAVIS.label_set,
            root=root,
            splits={"train": "train", "val": "val", "test": "val", **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.crop, self.flip, self.augment = crop, flip, augment
        self.key_interval, self.encoding_range, self.former_only = key_interval, encoding_range, former_only
        self.sequences = sequences
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.davis import write_davis

        return stand_in(write_davis, **self.stand_in_parameters)

    def clip(self) -> list[Path]:
        """The first frames of the first test sequence, in order."""
        frames = self._frames(self.root("test"), "test")
        sequence, stems = next(iter(frames.sequences.items()))
        return [frames.frame_file(f"{sequence}/{stem}") for stem in stems[:_SHOWN]]

    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """Frames, clips or whole sequences of a stage."""
        frames = self._frames(root, stage)
        return DAVISSequences(frames) if self.sequences and stage != "train" else frames

    def _frames(self, root: Path, stage: str) -> DAVIS:
        training = stage == "train"
        return DAVIS(
            root,
            self.splits[stage],
            self._training_transform() if training else ClipTransform(self.image_size, self.label_set, 0.0),
            key_interval=self.key_interval,
            encoding_range=self.encoding_range,
            former_only=self.former_only,
            seed=self.seed if training else None,
            annotations=not training,
        )

    def _training_transform(self) -> ClipTransform:
        if self.crop is None:
            return ClipTransform(self.image_size, self.label_set, self.flip, self.augment)
        height, width = self.crop
        # RandomCrop's own padding takes a clip's axes for an image's.
        crop = (A.PadIfNeeded(height, width, fill_mask=IGNORE), A.RandomCrop(height, width))
        return ClipTransform(self.crop, self.label_set, self.flip, (*crop, *self.augment))

    def _eval_loader(self, stage: str) -> DataLoader[Any]:
        loader = super()._eval_loader(stage)
        if not self.sequences:
            return loader
        return DataLoader(
            loader.dataset, batch_size=1, sampler=loader.sampler, num_workers=self.num_workers, collate_fn=collate
        )
