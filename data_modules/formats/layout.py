"""Find a dataset's folders below `data.root` and the ids of its lists, and name what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from partwise.errors import InputError
from partwise.io.listing import hidden
from partwise.io.text import read_lines


def find_folder(root: Path, name: str) -> Path | None:
    """Find a folder in `root`, or in the only folder of `root` that has it.

    Archives often unpack into a folder that repeats their name: `NAME/NAME/...` is entered.

    Args:
        root: where to look.
        name: of the folder.

    Returns:
        The innermost folder of that name; None if there is none.

    Raises:
        InputError: several folders of `root` hold one.
    """
    found = [root / name]
    if not found[0].is_dir():
        found = sorted(p for p in root.glob(f"*/{name}") if p.is_dir() and not hidden(p.parent.name))
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
    """Raise InputError unless all folders of a layout exist.

    Args:
        root: folder of the layout.
        dataset: name of the dataset.
        folders: paths below `root` that must be folders.
        content: contents by which a user recognises the right folder.
    """
    for folder in folders:
        if not (root / folder).is_dir():
            raise not_held(root, dataset, f"{folder}/ is missing", f"the folder with {content}")


def check_pictures(folder: Path, names: Iterable[str], file: Path) -> None:
    """Raise InputError unless all pictures are in their folder.

    Args:
        folder: of the pictures.
        names: their file names.
        file: that lists them.
    """
    present = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    for name in names:
        if name not in present and not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing, {file} lists it; copy it there, or name other pictures")


def not_held(root: Path, dataset: str, fault: str, place: str) -> InputError:
    """Return the error for a folder that does not hold a dataset.

    Args:
        root: the folder.
        dataset: name of the dataset.
        fault: what is missing there.
        place: what `data.root` should name instead.

    Returns:
        The error to raise.
    """
    return InputError(f"{root} does not hold {dataset}: {fault}; point data.root at {place}")


def read_split(dataset: str, folder: Path, split: str, suffix: str = "_id.txt") -> list[str]:
    """Read the ids of a split from its list.

    Args:
        dataset: name of the dataset.
        folder: of the lists.
        split: name of a list without `suffix`.
        suffix: end of the lists' file names.

    Returns:
        The ids in the list's order.

    Raises:
        InputError: the list is missing or empty.
    """
    file = folder / f"{split}{suffix}"
    if not file.is_file():
        present = sorted(other.name.removesuffix(suffix) for other in folder.glob(f"*{suffix}"))
        raise no_such_split(dataset, split, present, folder)
    return read_list(file)


def read_list(file: Path) -> list[str]:
    """Read ids, one a line; raise InputError if the file is missing, empty or no text."""
    if not file.is_file():
        raise InputError(f"{file} is missing; copy the dataset's list there, or list ids in data.splits")
    ids = [row.strip() for row in read_lines(file) if row.strip()]
    if not ids:
        raise InputError(f"{file} lists nothing; it should hold one id a line")
    return ids


def given_ids(ids: Iterable[object]) -> list[str]:
    """Return the ids that `data.splits` lists.

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
    """Return the error for a split that a copy of a dataset does not have.

    Args:
        dataset: name of the dataset.
        split: the split that was asked for.
        present: the splits that exist.
        place: folder or file in which they were looked for.

    Returns:
        The error to raise.
    """
    return InputError(
        f"{dataset} in {place} has the splits {', '.join(present) or 'none'}, not {split!r}; "
        "name one of them or list ids in data.splits"
    )
