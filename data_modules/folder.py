"""Your own frames with a few label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.folder import LabelledFolder
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.folder import FolderWriter
from partwise.errors import InputError
from partwise.labels import PASCAL_PERSON_PART, LabelSet


class LabelledFolderDataModule(StillsDataModule):
    """Frames and label maps of your own classes, in the folders frames/ and labels/.

    Args:
        classes: names by id, background first. None takes Pascal-Person-Part's, which the stand-in has.
        pairs: (left, right) names that a horizontal flip exchanges.
        options: further arguments of `StillsDataModule`: root (the folder with frames/ and labels/), splits
            ("train", "val", "all", or names), synthetic (options of `FolderWriter`), image_size, flip, augment,
            batch_size, num_workers, seed and test_root.
    """

    layout = """\
frames/NAME.jpg    or any other picture; NAME may hold folders, one a video
labels/NAME.png    ids of data.classes, 255 ignored; few frames need one"""
    reader = LabelledFolder
    writer = FolderWriter

    def __init__(
        self, *, classes: Sequence[str] | None = None, pairs: Sequence[Sequence[str]] = (), **options: Any
    ) -> None:
        super().__init__(_label_set(classes, pairs), **options)

    def make_stand_in(self) -> Path:
        """Return the folder of the stand-in; raise InputError if its classes are not the user's."""
        if self.label_set != PASCAL_PERSON_PART:
            raise InputError("data.classes are yours, the stand-in has Pascal-Person-Part's; name data.root too")
        return super().make_stand_in()

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `LabelledFolder`."""
        return {"label_set": self.label_set}


def _label_set(classes: Sequence[str] | None, pairs: Sequence[Sequence[str]]) -> LabelSet:
    if classes is None:
        return PASCAL_PERSON_PART
    for name in (*classes, *(name for pair in pairs for name in pair)):
        if not isinstance(name, str):
            raise InputError(f"data.classes or data.pairs has the name {name!r}, as YAML reads it; write it in quotes")
    if twice := [name for name in classes if classes.count(name) > 1]:
        raise InputError(f"data.classes names {twice[0]!r} twice; give every class a name of its own")
    if odd := [pair for pair in pairs if len(pair) != 2]:
        raise InputError(f"data.pairs has {list(odd[0])!r}; write pairs [left, right]")
    unknown = [name for pair in pairs for name in pair if name not in classes]
    if unknown:
        raise InputError(f"data.pairs names {unknown[0]!r}, which data.classes does not have")
    ids = {name: i for i, name in enumerate(classes)}
    try:
        return LabelSet("own", tuple(classes), tuple((ids[left], ids[right]) for left, right in pairs))
    except ValueError as error:
        raise InputError(f"data.pairs: {error}") from error
