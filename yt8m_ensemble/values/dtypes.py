"""TensorFlow's dtypes: the one table of their names, numbers and numpy forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

DTYPE_NAMES: Final[Mapping[int, str]] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string",
    8: "complex64", 9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16",
    15: "qint16", 16: "quint16", 17: "uint16", 18: "complex128", 19: "float16", 20: "resource",
    21: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn",
}  # fmt: skip
"""Names by their numbers in files (TensorFlow, `types.proto`)."""

_NO_NUMBERS = {"string", "resource", "variant"}
_STORED_AS = {
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    # Quantized numbers are stored as the integers that they are.
    "qint8": "int8", "quint8": "uint8", "qint16": "int16", "quint16": "uint16", "qint32": "int32",
}  # fmt: skip

NUMPY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    name: np.dtype(_STORED_AS.get(name, name))
    for name in DTYPE_NAMES.values()
    if name not in _NO_NUMBERS
}
"""Numpy dtypes by TensorFlow's names; strings, resources and variants have none."""

AVERAGEABLE: Final = frozenset(
    {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
)
"""Dtypes of which a mean makes sense."""
