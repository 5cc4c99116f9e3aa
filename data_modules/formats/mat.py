"""Read MATLAB files, in which PASCAL-Part, Clothing Co-Parsing, MPII and JHMDB have their labels."""

from __future__ import annotations

import io
import textwrap
import zlib
from pathlib import Path
from struct import unpack_from
from typing import Any

import scipy.io

from partwise.errors import InputError

#: Types of elements in MATLAB 5's format: numbers and text, matrices, compressed elements.
_KINDS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15, 16, 17, 18})
_MATRIX, _COMPRESSED = 14, 15
_HEADER = 128  # bytes


def read_mat(file: Path, name: str) -> Any:
    """Read a variable of a .mat file.

    Args:
        file: of MATLAB 7 or earlier.
        name: of the variable.

    Returns:
        Its value: structs as objects, arrays of one element as that element.

    Raises:
        InputError: the file is missing, damaged, or has no such variable.
    """
    try:
        data = file.read_bytes()
        _check_kinds(data)
        content = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True, struct_as_record=False)
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing; every picture needs its labels") from error
    except Exception as error:  # scipy may raise anything on a damaged file, and takes no HDF5 of MATLAB 7.3
        problem = textwrap.shorten(str(error), 200, placeholder=" ...") or type(error).__name__
        raise InputError(f"{file} is damaged or no MATLAB file ({problem}); copy or download it again") from error
    if name not in content:
        found = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise InputError(
            f"{file} has no variable {name!r}; it holds {textwrap.shorten(found, 200, placeholder=' ...')}"
        )
    return content[name]


def _check_kinds(data: bytes) -> None:
    """Raise ValueError for an element of unknown type, at which scipy crashes; other formats than MATLAB 5's pass."""
    little = data[126:128] == b"IM"
    if len(data) < _HEADER or 0 in data[:4] or data[124 + little] != 1:
        return
    waiting = [memoryview(data)[_HEADER:]]
    while waiting:
        block, at = waiting.pop(), 0
        while at + 8 <= len(block):
            kind, size = unpack_from("<II" if little else ">II", block, at)
            at += 8
            if kind >> 16:  # the second word is the content
                kind, size = kind & 0xFFFF, 0
            if kind not in _KINDS:
                raise ValueError(f"an element is of the unknown type {kind}")
            if kind == _MATRIX:
                waiting.append(block[at : at + size])
            elif kind == _COMPRESSED:
                waiting.append(memoryview(zlib.decompress(block[at : at + size])))
            at += size if kind == _COMPRESSED else size + -size % 8
