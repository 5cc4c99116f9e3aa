"""What all DataModules share: loaders that can be resumed, collation, and where the data come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from data_modules.sampling import EvalSampler, TrainSampler
from partwise.errors import InputError
from partwise.labels import LabelSet

#: Fields that stay lists: native annotations and persons differ in number, ids are text.
LISTED = frozenset({"index", "sample_ids", "annotations", "keypoints", "boxes"})


class ParsingDataModule(pl.LightningDataModule):
    """Base of the DataModules: subclasses build datasets in `make_dataset`.

    Args:
        label_set: of the labels it yields.
        root: folder in the dataset's native layout; None renders the synthetic stand-in.
        splits: names of the train, val and test lists, or the ids themselves.
        image_size: side of the square canvas, or its (height, width).
        batch_size: samples a process and step.
        num_workers: loader processes; 0 loads in the training process.
        seed: of shuffling and augmentation.
        test_root: another folder of the same layout that the test split is read from.

    Attributes:
        layout: the tree below root, for people.
        published: the numbers that the dataset's authors state.
        stages: those that the dataset has data for.
    """

    layout: ClassVar[str] = ""
    published: ClassVar[Mapping[str, int]] = {}
    stages: ClassVar[Sequence[str]] = ("train", "val", "test")

    def __init__(
        self,
        label_set: LabelSet,
        *,
        root: str | Path | None,
        splits: Mapping[str, str | Sequence[str]],
        image_size: int | Sequence[int],
        batch_size: int,
        num_workers: int,
        seed: int,
        test_root: str | Path | None = None,
    ) -> None:
        super().__init__()
        for key, folder in (("root", root), ("test_root", test_root)):
            if folder is not None and not Path(folder).is_dir():
                raise InputError(f"data.{key}={folder} is not a folder; name the dataset's or leave data.{key} unset")
        self.label_set, self.splits, self.image_size = label_set, dict(splits), image_size
        self.given_root = None if root is None else Path(root)
        self.test_root = None if test_root is None else Path(test_root)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._position: tuple[int, int] | None = None

    @property
    def synthetic(self) -> bool:
        """Whether the data are the rendered stand-in."""
        return self.given_root is None and self.test_root is None

    def make_stand_in(self) -> Path:
        """Render the stand-in once and return its folder."""
        raise InputError(f"{type(self).__name__} has no synthetic stand-in; name the dataset's folder with data.root")

    @abstractmethod
    def make_dataset(self, root: Path, stage: str) -> Dataset[dict[str, Any]]:
        """The dataset of stage "train", "val" or "test"."""

    def clip(self) -> list[Path]:
        """A few consecutive frames of the test split, to show; empty if the dataset has single pictures only."""
        return []

    def check(self, *stages: str) -> None:
        """Fail now rather than after training: every split that will be used must be there."""
        for stage in stages or ("train", "val", "test"):
            self.dataset(stage)

    def prepare_data(self) -> None:
        """Render the stand-in, on one process of each machine."""
        if self.synthetic:
            self.make_stand_in()

    def root(self, stage: str = "train") -> Path:
        """Folder of a stage's data, real or rendered."""
        if stage == "test" and self.test_root is not None:
            return self.test_root
        if self.given_root is not None:
            return self.given_root
        if self.test_root is not None:
            raise InputError(f"data.test_root alone can only be tested on; name the {stage} data with data.root")
        return self.make_stand_in()

    def dataset(self, stage: str) -> Dataset[dict[str, Any]]:
        """The dataset of a stage, also for use without a Trainer."""
        return self.make_dataset(self.root(stage), stage)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches; a resumed run starts where it stopped."""
        dataset = self.dataset("train")
        sampler = TrainSampler(len(dataset), self.batch_size, self.seed)  # type: ignore[arg-type]
        if self._position is not None:
            epoch, batches = self._position
            sampler.resume(epoch, batches * self.batch_size)
        return self._loader(dataset, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every validation sample once."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Every test sample once."""
        return self._eval_loader("test")

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Pixels travel as uint8 and become [0, 1] on the device."""
        for name in ("images", "frames"):
            if name in batch and batch[name].dtype == torch.uint8:
                batch[name] = batch[name].float() / 255
        return batch

    def state_dict(self) -> dict[str, int]:
        """Epoch and batches seen of it, for the checkpoint."""
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

    def _loader(self, dataset: Dataset[Any], sampler: Any, drop_last: bool = False) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            drop_last=drop_last,
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator(),  # its own, so that loading leaves the training's random numbers alone
        )


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack tensors; keep ids and native annotations as lists."""
    return {
        name: [s[name] for s in samples] if name in LISTED else default_collate([s[name] for s in samples])
        for name in samples[0]
    }
