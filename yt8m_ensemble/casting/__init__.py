"""Weights in fewer bits than float32, with an account of every tensor. Opens no file."""

from yt8m_ensemble.casting.float16 import (
    SMALLEST_NORMAL,
    CastReport,
    Float16Cast,
    cast_to_float16,
)

__all__ = ["SMALLEST_NORMAL", "CastReport", "Float16Cast", "cast_to_float16"]
