"""Where a dataset's folders lie beneath `data.root`, and which ids its lists name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from partwise.errors import InputError


def find_folder(root: Path, name: str) -> Path | None:
    """The folder `name` in `root` or, if it is there only once, in one of the folders of `root`.

    Archives often unpack into a folder that repeats their name: `NAME/NAME/...` is entered.

    Raises:
        InputError: several folders of `root` hold one.
    """
    found = [root / name] if (root / name).is_dir() else sorted(p for p in root.glob(f"*/{name}") if p.is_dir())
    if len(found) > 1:
        where = ", ".join(folder.parent.name for folder in found)
        raise InputError(f"{root} holds {name}/ more than once, in {where}; point data.root at one of these")
    if not found:
        return None
    folder = found[0]
    while (folder / name).is_dir():
        folder = folder / name
    return folder


def read_list(file: Path) -> list[str]:
    """Ids of a list, one a line; raises InputError if there are none."""
    if not file.is_file():
        raise InputError(f"{file} is missing; copy the dataset's list there, or list ids in data.splits")
    ids = file.read_text(encoding="utf-8").split()
    if not ids:
        raise InputError(f"{file} lists no picture; it should hold one id a line")
    return ids


def given_ids(ids: Iterable[object]) -> list[str]:
    """Ids as listed in `data.splits`.

    Raises:
        InputError: there are none, or one is a number, as YAML reads 2008_000652 and 0012003 without quotes.
    """
    found: list[str] = []
    for name in ids:
        if not isinstance(name, str):
            raise InputError(f"data.splits lists {name!r}, a number; write ids in quotes")
        found.append(name)
    if not found:
        raise InputError("data.splits lists no id for a split; name some, or a split of the dataset")
    return found


def no_such_split(dataset: str, split: str, present: Sequence[str]) -> InputError:
    """The error for a split that this copy of a dataset does not have."""
    return InputError(
        f"{dataset} here has the splits {', '.join(present) or 'none'}, not {split!r}; "
        "name one of them or list ids in data.splits"
    )
