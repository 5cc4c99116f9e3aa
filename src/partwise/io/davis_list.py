"""Reading of DAVIS's lists of a split: the 2016 release's name images and masks, the 2017 release's sequences."""

from __future__ import annotations

from pathlib import Path

from partwise.errors import InputError
from partwise.io.text import read_lines

#: Folders of the lists: of the 2016 release, and of the 2017 release for the 2016 protocol.
FOLDERS = ("ImageSets/480p", "ImageSets/2016")


def find_list(root: Path, split: str) -> Path | None:
    """Find the list of a split in either release.

    Args:
        root: folder of the release.
        split: name of the list, such as "val".

    Returns:
        the file, the 2016 release's if both exist; None if neither does.
    """
    return next((file for folder in FOLDERS if (file := root / folder / f"{split}.txt").is_file()), None)


def read_list(file: Path) -> dict[str, list[str]]:
    """Read the sequences of a list.

    Args:
        file: rows of an image and its mask (2016), or of a sequence (2017).

    Returns:
        from each sequence's name to its frames' names, none if the list names the sequence alone.

    Raises:
        InputError: the file cannot be read, a row is damaged, or the list is empty.
    """
    sequences: dict[str, list[str]] = {}
    for number, row in enumerate(read_lines(file), 1):
        match row.split():
            case []:
                continue
            case [image, mask] if (frame := _frame(image)) == _frame(mask) and all(frame):
                sequences.setdefault(frame[0], []).append(frame[1])
            case [name] if "/" not in name:
                sequences[name] = []
            case _:
                raise InputError(
                    f"{file}, line {number}: {row!r} is neither a sequence nor an image and its mask, as in "
                    "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png"
                )
    if not sequences:
        raise InputError(f"{file} lists no sequence; copy it from the release again")
    return sequences


def _frame(file: str) -> tuple[str, str]:
    """Return sequence and frame of a picture's or a mask's path."""
    return Path(file).parent.name, Path(file).stem
