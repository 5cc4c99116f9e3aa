"""Names of NumPy's array types. Shapes and units are stated where an array is described."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
IntpArray = npt.NDArray[np.intp]  # positions, as numpy's sorting returns them
IntArray = npt.NDArray[np.integer]  # of any width
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
ComplexArray = npt.NDArray[np.complex128]

Picture = UInt8Array  # (H, W, 3) RGB
