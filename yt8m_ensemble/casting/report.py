"""What storing a tensor in fewer bits did to its values, gathered block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class CastReport:
    """Errors that casting caused in one tensor.

    Args:
        name: The tensor.
        size: Number of values.
        largest: Largest magnitude before the cast.
        underflow_share: Share of the values that were not zero and became zero.
        subnormal_share: Share of the values that became subnormal, not zero.
        max_error: Largest |cast - original|.
        mean_error: Mean |cast - original|, summed in float64.
    """

    name: str
    size: int
    largest: float
    underflow_share: float
    subnormal_share: float
    max_error: float
    mean_error: float


@dataclass(frozen=True)
class BlockErrors:
    """Errors that casting caused in one block of a tensor.

    Args:
        size: Number of values.
        largest: Largest magnitude before the cast.
        underflows: Values that were not zero and became zero.
        subnormals: Values that became subnormal, not zero.
        max_error: Largest |cast - original|.
        error_sum: Sum of |cast - original|, in float64.
        nans: Values that are NaN.
        overflows: Values that became infinite.
    """

    size: int = 0
    largest: float = 0.0
    underflows: int = 0
    subnormals: int = 0
    max_error: float = 0.0
    error_sum: float = 0.0
    nans: int = 0
    overflows: int = 0


def join_errors(name: str, blocks: Sequence[BlockErrors]) -> CastReport:
    """Return the report of a tensor from those of its blocks; an empty tensor has zeros throughout.

    Args:
        name: The tensor.
        blocks: Of all its values, in their order.

    Returns:
        The report.
    """
    size = sum(block.size for block in blocks)
    return CastReport(
        name=name,
        size=size,
        largest=max((block.largest for block in blocks), default=0.0),
        underflow_share=sum(block.underflows for block in blocks) / max(size, 1),
        subnormal_share=sum(block.subnormals for block in blocks) / max(size, 1),
        max_error=max((block.max_error for block in blocks), default=0.0),
        mean_error=sum(block.error_sum for block in blocks) / max(size, 1),
    )
