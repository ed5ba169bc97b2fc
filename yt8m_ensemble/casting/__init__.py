"""Weights in fewer bits than float32, with an account of every tensor. Opens no file."""

from yt8m_ensemble.casting.float16 import (
    MIN_NARROW_SIZE,
    SMALLEST_NORMAL,
    Float16Cast,
    cast_block,
    cast_to_float16,
    is_narrowable,
)
from yt8m_ensemble.casting.quantization import (
    CODEBOOK_SIZE,
    SCHEMES,
    Quantized,
    dequantize,
    pack_nibbles,
    plan_quantized,
    quantize,
    row_groups,
    unpack_nibbles,
)
from yt8m_ensemble.casting.report import CastReport

__all__ = [
    "CODEBOOK_SIZE",
    "MIN_NARROW_SIZE",
    "SCHEMES",
    "SMALLEST_NORMAL",
    "CastReport",
    "Float16Cast",
    "Quantized",
    "cast_block",
    "cast_to_float16",
    "dequantize",
    "is_narrowable",
    "pack_nibbles",
    "plan_quantized",
    "quantize",
    "row_groups",
    "unpack_nibbles",
]
