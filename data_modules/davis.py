"""DAVIS by its 2016 protocol: the foreground of videos, for ATEN and frame-level parsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A
from torch.utils.data import DataLoader, Dataset

from data_modules.base import SHOWN, ParsingDataModule
from data_modules.datasets.davis import DAVIS, PUBLISHED, DAVISSequences
from data_modules.loading.contexts import Around
from data_modules.loading.sampling import EvalSampler
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.davis import DAVISWriter
from partwise.labels import IGNORE


class DAVISDataModule(ParsingDataModule):
    """Frames or clips of two classes, background and foreground; every frame is labelled.

    Args:
        image_size: side of the square canvas in pixels, or its (height, width), in evaluation.
        crop: (height, width) of random crops in training, at the frames' own size; None resizes whole frames to
            `image_size`.
        around: chooses the frames that go with the labelled one (`data_modules.loading.contexts`); None yields single
            pictures.
        sequences: whether val and test yield whole sequences, one a batch, instead of frames.
        splits: list names, or the sequences themselves, of train, val and test; the protocol tests on val.
        options: further arguments of `ParsingDataModule`: label_set, root (the folder of the 2016 or the 2017 release),
            synthetic (options of `DAVISWriter`), flip, augment (after the crop), batch_size, num_workers, seed and
            test_root.
    """

    layout = """\
JPEGImages/480p/SEQ/00000.jpg
Annotations/480p/SEQ/00000.png    0 and 255 (2016), or ids of objects (2017)
ImageSets/480p/{train,val}.txt    rows of image and mask (2016), or
ImageSets/2016/{train,val}.txt    names of sequences (2017)"""
    published = PUBLISHED
    reader = DAVIS
    writer = DAVISWriter

    def __init__(
        self,
        *,
        image_size: int | Sequence[int] = (512, 896),
        crop: Sequence[int] | None = (384, 640),
        around: Around | None = None,
        sequences: bool = False,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(image_size=image_size, splits={"test": "val", **(splits or {})}, **options)
        self.crop, self.around, self.sequences = crop, around, sequences

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its sequences and their frames, whichever of the two the samples are."""
        frames = dataset.frames if isinstance(dataset, DAVISSequences) else dataset
        return {"sequences": len(frames.sequences), "frames": len(frames)}

    def clip(self) -> list[Path]:
        """Return the first frames of the first test sequence, in order."""
        frames = self._frames(self.root("test"), "test")
        sequence, stems = next(iter(frames.sequences.items()))
        return [frames.frame_file(f"{sequence}/{stem}") for stem in stems[:SHOWN]]

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `DAVIS`."""
        return {"around": self.around}

    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            Frames, clips or whole sequences.
        """
        frames = self._frames(root, stage)
        return DAVISSequences(frames) if self.sequences and stage != "train" else frames

    def _frames(self, root: Path, stage: str) -> DAVIS:
        frames: DAVIS = self.read(root, stage)
        return frames

    def transform(self, stage: str) -> ClipTransform:
        """Return the transform of stage "train", "val" or "test"; training crops where a size is given."""
        if stage != "train" or self.crop is None:
            return super().transform(stage)
        height, width = self.crop
        # RandomCrop's own padding takes a clip's axes for an image's.
        crop = (A.PadIfNeeded(height, width, fill_mask=IGNORE), A.RandomCrop(height, width))
        return ClipTransform(self.crop, self.label_set, self.flip, (*crop, *self.augment))

    def _eval_loader(self, stage: str) -> DataLoader[Any]:
        dataset: Any = self.dataset(stage)
        return self._loader(dataset, EvalSampler(len(dataset)), batch_size=1 if self.sequences else None)
