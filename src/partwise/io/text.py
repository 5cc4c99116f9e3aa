"""Reading of text files that users and other programs write."""

from __future__ import annotations

import codecs
from pathlib import Path

from partwise.errors import InputError
from partwise.io.atomic import reason

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_text(path: str | Path) -> str:
    r"""Read a text in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Args:
        path: the file.

    Returns:
        The text, whose lines end in \n whatever they end in in the file.

    Raises:
        InputError: the file is missing, cannot be read, or is of another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({reason(error)}); check the path and its permissions") from error
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    content = content.removeprefix(mark)
    try:
        text, end = content.decode(encoding), len(content)
    except UnicodeDecodeError as error:
        text, end = content[: error.start].decode(encoding), error.start
    nul = text.find("\0")  # UTF-16 without its mark is read as UTF-8 with these
    if end < len(content) or nul >= 0:
        line = (text if nul < 0 else text[:nul]).count("\n") + 1
        raise InputError(f"{path}, line {line}: not {encoding.upper()}; save the file as text in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        path: the file.

    Returns:
        All lines, also empty ones: line n is at n - 1.

    Raises:
        InputError: the file is missing, cannot be read, or is of another encoding.
    """
    return read_text(path).removesuffix("\n").split("\n")
