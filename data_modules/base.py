"""Base of all DataModules: loaders that can be resumed, collation, and the choice of real or rendered data."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A
import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from data_modules.loading.sampling import EvalSampler, TrainSampler
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.writer import Writer
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.ops.flip import COCO_KEYPOINT_PAIRS

#: Frames of a clip that is shown, at most.
SHOWN = 24

#: Fields that stay lists: native annotations and persons differ in number, ids are text.
LISTED = frozenset({"index", "sample_ids", "sizes", "annotations", "keypoints", "boxes"})


class ParsingDataModule(pl.LightningDataModule):
    """Base of the DataModules.

    Subclasses name their `reader` and `writer`; a reader of another signature is opened in `make_dataset`.

    Args:
        label_set: classes of the parts; None takes the reader's.
        root: folder in the dataset's native layout; None renders the synthetic stand-in.
        image_size: side of the square canvas in pixels, or its (height, width).
        splits: names of the train, val and test lists, or the ids themselves.
        flip: probability of a horizontal flip in training, 0..1.
        augment: further albumentations transforms of training samples, in order, alike for all frames of one.
        synthetic: options of the writer.
        batch_size: samples of a batch on one process.
        num_workers: loader processes; 0 loads in the training process.
        seed: of shuffling, augmentation and everything else that a training sample draws.
        test_root: another folder of the same layout that the test split is read from.

    Attributes:
        layout: tree below the root, as a text.
        published: numbers that the dataset's authors state, by split, or "in all", and by unit.
        stages: stages that the dataset has data for.
        keypoint_pairs: (left, right) rows of the keypoints, which a flip exchanges.
        stretch: whether pictures fill the canvas and give up their aspect, instead of being padded.
        reader: class of the datasets.
        writer: class that writes the stand-in; None if there is none.
    """

    layout: ClassVar[str] = ""
    published: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    stages: ClassVar[Sequence[str]] = ("train", "val", "test")
    keypoint_pairs: ClassVar[Sequence[tuple[int, int]]] = COCO_KEYPOINT_PAIRS
    stretch: ClassVar[bool] = False
    reader: Any
    writer: type[Writer] | None = None

    def __init__(
        self,
        label_set: LabelSet | None = None,
        *,
        root: str | Path | None = None,
        image_size: int | Sequence[int] = 512,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
        test_root: str | Path | None = None,
    ) -> None:
        super().__init__()
        for key, folder in (("root", root), ("test_root", test_root)):
            if folder is not None and not Path(folder).is_dir():
                raise InputError(f"data.{key}={folder} is not a folder; name the dataset's or leave data.{key} unset")
        self.label_set = self.reader.label_set if label_set is None else label_set
        self.image_size = image_size
        self.splits = {"train": "train", "val": "val", "test": "test", **(splits or {})}
        self.flip, self.augment = flip, augment
        self.stand_in_parameters = dict(synthetic or {})
        self.given_root = None if root is None else Path(root)
        self.test_root = None if test_root is None else Path(test_root)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._position: tuple[int, int] | None = None

    @property
    def synthetic(self) -> bool:
        """Whether the data are the rendered stand-in."""
        return self.given_root is None and self.test_root is None

    def make_stand_in(self) -> Path:
        """Return the folder of the stand-in, which is rendered now if the cache does not have it."""
        if self.writer is None:
            name = type(self).__name__
            raise InputError(f"{name} has no synthetic stand-in; name the dataset's folder with data.root")
        return self.writer.of(self.stand_in_parameters).cached()

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of the reader in stage "train", "val" or "test"."""
        return {}

    def read(self, root: Path, stage: str, split: str | Sequence[str] | None = None) -> Any:
        """Open the reader on the split of a stage; val and test have the native ground truth.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".
            split: name of a split, or ids, to read instead of the stage's own.

        Returns:
            An instance of `reader`.
        """
        training = stage == "train"
        return self.reader(
            root,
            self.splits[stage] if split is None else split,
            self.transform(stage),
            seed=self.seed if training else None,
            annotations=not training,
            **self.reader_options(stage),
        )

    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """Build the dataset of a stage.

        Args:
            root: folder of the layout.
            stage: "train", "val" or "test".

        Returns:
            The samples of the stage's split.
        """
        dataset: Dataset[dict[str, Any]] = self.read(root, stage)
        return dataset

    def transform(self, stage: str) -> ClipTransform:
        """Return the transform of stage "train", "val" or "test"; only training flips and augments."""
        flip, augment = (self.flip, self.augment) if stage == "train" else (0.0, ())
        return ClipTransform(self.image_size, self.label_set, flip, augment, self.keypoint_pairs, self.stretch)

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count the content of one of its datasets, by the units of `published`."""
        return {"pictures": len(dataset)}

    def clip(self) -> list[Path]:
        """Return a few consecutive frames of the test split, to show; none if the dataset has single pictures only."""
        return []

    def check(self, *stages: str) -> None:
        """Open every split that will be used, so that a fault shows now rather than after training.

        Args:
            stages: of "train", "val" and "test"; none stands for all three.
        """
        for stage in stages or ("train", "val", "test"):
            self.dataset(stage)

    def prepare_data(self) -> None:
        """Render the stand-in, on one process of each machine."""
        if self.synthetic:
            self.make_stand_in()

    def root(self, stage: str = "train") -> Path:
        """Return the folder of a stage's data, real or rendered."""
        if stage == "test" and self.test_root is not None:
            return self.test_root
        if self.given_root is not None:
            return self.given_root
        if self.test_root is not None:
            raise InputError(f"data.test_root alone can only be tested on; name the {stage} data with data.root")
        return self.make_stand_in()

    def dataset(self, stage: str) -> Dataset[dict[str, Any]]:
        """Return the dataset of a stage, also for use without a Trainer."""
        return self.make_dataset(self.root(stage), stage)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches; a resumed run starts where it stopped."""
        dataset = self.dataset("train")
        sampler = TrainSampler(len(dataset), self.batch_size, self.seed)  # type: ignore[arg-type]
        if self._position is not None:
            epoch, batches = self._position
            sampler.resume(epoch, batches * self.batch_size)
        return self._loader(dataset, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return every validation sample once."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return every test sample once."""
        return self._eval_loader("test")

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Scale pixels, which travel as uint8, to [0, 1] on the device, and make native annotations' maps int64.

        Args:
            batch: fields by name, changed in place.
            dataloader_idx: of no effect.

        Returns:
            The batch.
        """
        for name in ("images", "frames"):
            if name in batch and batch[name].dtype == torch.uint8:
                batch[name] = batch[name].float() / 255
        if "annotations" in batch:
            batch["annotations"] = apply_to_collection(batch["annotations"], torch.Tensor, _widened)
        return batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches seen, for the checkpoint."""
        if self.trainer is None:
            return {}
        # A checkpoint of the last step of an epoch continues with the next.
        seen = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        whole = seen >= self.trainer.num_training_batches
        return {"epoch": self.trainer.current_epoch + whole, "batches": 0 if whole else seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue at the position of `state_dict`."""
        if state_dict:
            self._position = (state_dict["epoch"], state_dict["batches"])

    def _eval_loader(self, stage: str) -> DataLoader[Any]:
        dataset = self.dataset(stage)
        return self._loader(dataset, EvalSampler(len(dataset)))  # type: ignore[arg-type]

    def _loader(
        self, dataset: Dataset[Any], sampler: Any, drop_last: bool = False, batch_size: int | None = None
    ) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=batch_size or self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=self._pins_memory(),
            drop_last=drop_last,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # its own, so that loading leaves the training's random numbers alone
        )

    def _pins_memory(self) -> bool:
        """Whether batches wait in page-locked memory, from which a GPU takes them while it computes."""
        return self.trainer is not None and self.trainer.strategy.root_device.type not in ("cpu", "mps")


def _ignore_signals(worker: int) -> None:
    """Let the training alone answer a signal that goes to all its processes: it saves first, then ends the workers."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _widened(values: Tensor) -> Tensor:
    """Int64 of maps and classes; masks and keypoints as they are."""
    return values if values.is_floating_point() or values.dtype == torch.bool else values.long()


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack tensors; keep ids and native annotations as lists."""
    return {
        name: [s[name] for s in samples] if name in LISTED else default_collate([s[name] for s in samples])
        for name in samples[0]
    }
