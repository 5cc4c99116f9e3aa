"""Optical flow as Middlebury's `.flo` files, the format of FlyingChairs and of most flow benchmarks.

A file is little-endian: the float32 202021.25, width and height as int32, then (dx, dy) float32 pixel by pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partwise.arrays import Float32Array, FloatArray
from partwise.errors import InputError
from partwise.io.atomic import write_bytes

MAGIC = np.float32(202021.25)

_HEADER = 12  # bytes
_UNKNOWN = 1e9  # Middlebury's flow is larger where it is unknown
_LARGEST = 2**15  # pixels per side; a larger one means another kind of file


def read_flo(path: str | Path) -> Float32Array:
    """Read a flow field.

    Args:
        path: the file.

    Returns:
        (2, H, W) float32 (dx, dy) in pixels, from this frame to the other.

    Raises:
        InputError: the file is missing, no `.flo` file, longer or shorter than its size requires, or its flow is
            unknown somewhere.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"flow {path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from error
    if len(content) < _HEADER or np.frombuffer(content, "<f4", 1)[0] != MAGIC:
        raise InputError(f"{path} is no .flo file: it does not begin with {MAGIC}; copy or download it again")
    width, height = np.frombuffer(content, "<i4", 2, offset=4).tolist()
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise InputError(f"{path} says that it is {width}x{height}, which no flow is; copy or download it again")
    if len(content) != _HEADER + 8 * width * height:
        raise InputError(
            f"{path} has {len(content)} bytes where a flow of {width}x{height} has {_HEADER + 8 * width * height}; "
            "copy or download it again"
        )
    pixels = np.frombuffer(content, "<f4", offset=_HEADER).reshape(height, width, 2)
    if not (np.abs(pixels) <= _UNKNOWN).all():  # nor is any comparison with NaN true
        raise InputError(f"{path} has flow that is not finite, or unknown; take a dense flow, or copy it again")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def write_flo(path: str | Path, flow: FloatArray) -> None:
    """Write a flow field.

    Args:
        path: file to write.
        flow: (2, H, W) (dx, dy) in pixels.

    Raises:
        InputError: the file cannot be written.
        ValueError: `flow` has another shape.
    """
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow {flow.shape} is not (2, H, W)")
    size = np.array([flow.shape[2], flow.shape[1]], "<i4")
    pixels = flow.transpose(1, 2, 0).astype("<f4")
    write_bytes(path, np.array(MAGIC, "<f4").tobytes() + size.tobytes() + pixels.tobytes())
