"""Read MATLAB files, in which PASCAL-Part, Clothing Co-Parsing, MPII and JHMDB have their labels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import scipy.io
from scipy.io.matlab import MatReadError

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
    # scipy raises NotImplementedError for MATLAB 7.3 files, which are HDF5.
    except (MatReadError, ValueError, TypeError, OSError, NotImplementedError, zlib.error) as error:
        raise InputError(f"{file} is damaged or no MATLAB file ({error}); copy or download it again") from error
    if name not in content:
        found = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise InputError(f"{file} has no variable {name!r}; it holds {found}")
    return content[name]
