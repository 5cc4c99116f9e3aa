"""Define the writer of a stand-in: options as fields, and a method that writes the files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from data_modules.loading.cache import stand_in
from partwise.errors import InputError
from partwise.io.atomic import write_text

#: Key in the metadata of options that a layout did not have at first.
LATER = "later"


@dataclass(frozen=True, kw_only=True)
class Writer(ABC):
    """Writes a rendered stand-in in a dataset's native layout.

    Its fields are the options, which YAML names under `data.synthetic`. The one without a default says how many
    videos or pictures there are: of each split, or in all where the layout has no splits. A field that is added
    without `LATER` in its metadata, or changes its default, gives all cached folders of the layout another name.

    Args:
        size: (height, width) in pixels.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight. The files do not depend on it.

    Attributes:
        name: of the layout, on the command line and in the cache folder.
        revision: of the files; another one gives all cached folders of the layout another name.
        splits: of the layout, in the order in which they are drawn; empty where the layout has none.
    """

    name: ClassVar[str]
    revision: ClassVar[int] = 1
    splits: ClassVar[Sequence[str]] = ()

    size: Sequence[int] = (128, 128)
    seed: int = 0
    workers: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Build the writer from options by name.

        Args:
            options: name -> value, as `data.synthetic` has them.

        Raises:
            InputError: an option does not exist, or the number of videos or pictures is missing.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(options) - set(known)):
            raise InputError(f"the stand-in {cls.name} has no option {unknown[0]!r}; it has {', '.join(known)}")
        if cls.amount() not in options:
            raise InputError(f"the stand-in {cls.name} has no number of {cls.amount()}; set {cls.amount()}")
        return cls(**options)

    @classmethod
    def amount(cls) -> str:
        """Return the name of the option that says how many videos or pictures there are."""
        return next(field.name for field in fields(cls) if field.default is MISSING)

    @abstractmethod
    def write(self, root: Path) -> None:
        """Write the files into the empty folder `root`."""

    def cached(self) -> Path:
        """Return the cache folder that holds the files; write them first if they are not there yet."""
        content = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "workers"}
        for field in fields(self):  # folders that were written before there was such an option are still found
            if field.metadata.get(LATER) and content[field.name] == field.default:
                del content[field.name]
        if self.revision > 1:
            content["revision"] = self.revision
        return stand_in(self.name, content, self.write)

    @property
    def canvas(self) -> tuple[int, int]:
        """The size as (height, width) in pixels, whatever sequence `size` is."""
        height, width = (int(side) for side in self.size)
        return height, width

    def check_splits(self, given: Iterable[str]) -> None:
        """Raise InputError for a split that the layout does not have."""
        if unknown := set(given) - set(self.splits):
            raise InputError(
                f"there is no split {', '.join(sorted(unknown))} in the stand-in {self.name}; "
                f"its splits are {', '.join(self.splits)}"
            )

    def splits_of_all(self, counts: Mapping[str, int]) -> list[str]:
        """Return the split of every picture, in order, if each split has as many as `counts` says."""
        self.check_splits(counts)
        return [split for split in self.splits for _ in range(counts.get(split, 0))]


def write_rows(file: Path, rows: Iterable[str]) -> None:
    """Write a text file of one row each, every one ended by a line feed.

    Args:
        file: text file to write; missing folders are made.
        rows: its lines; none make an empty file.
    """
    write_text(file, "".join(f"{row}\n" for row in rows))
