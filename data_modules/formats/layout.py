"""Where a dataset's folders lie beneath `data.root`, and which ids its lists name."""

from __future__ import annotations

from collections.abc import Iterable
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


def check_folders(root: Path, dataset: str, folders: Iterable[str], content: str) -> None:
    """Raises InputError unless all folders of a layout are there.

    Args:
        root: the folder of the layout.
        dataset: its name.
        folders: paths below `root` that must be folders.
        content: what the right folder holds.
    """
    for folder in folders:
        if not (root / folder).is_dir():
            raise not_held(root, dataset, f"{folder}/ is missing", f"the folder with {content}")


def not_held(root: Path, dataset: str, fault: str, place: str) -> InputError:
    """Returns the error for a folder that does not hold a dataset.

    Args:
        root: the folder.
        dataset: its name.
        fault: what is missing there.
        place: what `data.root` should name instead.
    """
    return InputError(f"{root} does not hold {dataset}: {fault}; point data.root at {place}")


def read_split(dataset: str, folder: Path, split: str, suffix: str = "_id.txt") -> list[str]:
    """Reads the ids of a split from its list.

    Args:
        dataset: its name.
        folder: of the lists SPLIT`suffix`.
        split: name of a list.
        suffix: that ends the lists' names.

    Returns:
        The ids, in the list's order.

    Raises:
        InputError: there is no such list, or nothing in it.
    """
    file = folder / f"{split}{suffix}"
    if not file.is_file():
        present = sorted(other.name.removesuffix(suffix) for other in folder.glob(f"*{suffix}"))
        raise no_such_split(dataset, split, present, folder)
    return read_list(file)


def read_list(file: Path) -> list[str]:
    """Reads ids, one a line; raises InputError if there is no such file, or nothing in it."""
    if not file.is_file():
        raise InputError(f"{file} is missing; copy the dataset's list there, or list ids in data.splits")
    ids = [row.strip() for row in file.read_text(encoding="utf-8").splitlines() if row.strip()]
    if not ids:
        raise InputError(f"{file} lists nothing; it should hold one id a line")
    return ids


def given_ids(ids: Iterable[object]) -> list[str]:
    """Returns ids as listed in `data.splits`.

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


def no_such_split(dataset: str, split: str, present: Iterable[str], place: Path) -> InputError:
    """Returns the error for a split that a copy of a dataset does not have.

    Args:
        dataset: its name.
        split: that was asked for.
        present: the splits that there are.
        place: folder or file in which they are.
    """
    return InputError(
        f"{dataset} in {place} has the splits {', '.join(present) or 'none'}, not {split!r}; "
        "name one of them or list ids in data.splits"
    )
