"""Read MATLAB files, in which PASCAL-Part, Clothing Co-Parsing, MPII and JHMDB have their labels."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import scipy.io

from partwise.errors import InputError


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
        content = scipy.io.loadmat(str(file), squeeze_me=True, struct_as_record=False)
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing; every picture needs its labels") from error
    except Exception as error:  # scipy may raise anything on a damaged file, and takes no HDF5 of MATLAB 7.3
        problem = textwrap.shorten(str(error), 200, placeholder=" ...") or type(error).__name__
        raise InputError(f"{file} is damaged or no MATLAB file ({problem}); copy or download it again") from error
    if name not in content:
        found = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise InputError(f"{file} has no variable {name!r}; it holds {textwrap.shorten(found, 200, placeholder=' ...')}")
    return content[name]
