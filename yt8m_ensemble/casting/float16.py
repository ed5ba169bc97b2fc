"""float32 to float16 for storage, with what it did to every tensor. Opens no file.

Rounding is to the nearest value, ties to even (IEEE 754 binary16): 11 significant bits, so a normal
value is off by at most |x| * 2^-11; below 2^-14 values lose bits and below 2^-25 they become zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.constants import FLOAT16_MAX
from yt8m_ensemble.errors import CastOverflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSpec

SMALLEST_NORMAL = 2.0**-14
"""Below it float16 values are subnormal: fewer than 11 bits are kept."""

MIN_NARROW_SIZE = 1024
"""Smaller tensors stay float32: they weigh nothing and include biases and normalisation."""

_STATISTICS = ("moving_mean", "moving_variance")
_BLOCK_VALUES = 1 << 18


def is_narrowable(spec: TensorSpec) -> bool:
    """Return whether `auto` stores a tensor in fewer bits.

    Args:
        spec: The tensor.

    Returns:
        Whether it holds 1,024 floats or more and is no batch-norm statistic.

    Examples:
        >>> from yt8m_ensemble.values import TensorSpec
        >>> is_narrowable(TensorSpec("tower/gates/weights", (1024, 40), "float32"))
        True
        >>> is_narrowable(TensorSpec("tower/hidden1_bn/moving_mean", (2048,), "float32"))
        False
    """
    is_float = spec.dtype in {"float32", "float16"}
    return is_float and spec.size >= MIN_NARROW_SIZE and not spec.name.endswith(_STATISTICS)


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


class Float16Cast:
    """Cast one tensor block by block and keep account of it.

    Args:
        name: The tensor, for the report and messages.

    Examples:
        >>> cast = Float16Cast("w")
        >>> [block.tolist() for block in cast.blocks([np.array([1.0, 1e-9]), np.array([2049.0])])]
        [[1.0, 0.0], [2048.0]]
        >>> cast.report().max_error  # 2049 lies halfway between 2048 and 2050; even wins
        1.0
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._size = self._overflows = self._nans = self._underflows = self._subnormals = 0
        self._largest = self._max_error = self._error_sum = 0.0

    def blocks(self, blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float16]]:
        """Cast blocks as they come.

        All blocks are looked at before an overflow is reported, so that the message counts it all.

        Args:
            blocks: Runs of the tensor's values, any shape and float dtype.

        Yields:
            Each block as float16.

        Raises:
            CastOverflowError: After the last block, if a value rounds past 65,504 or is not finite.
        """
        for block in blocks:
            yield self._cast(np.asarray(block))
        if self._nans:
            msg = (
                f"{self._nans:,} of {self._size:,} values in '{self._name}' are NaN. "
                "Use an earlier checkpoint; training has diverged."
            )
            raise CastOverflowError(msg, name=self._name, count=self._nans, size=self._size)
        if self._overflows:
            msg = (
                f"{self._overflows:,} of {self._size:,} values in '{self._name}' do not fit "
                f"float16 (largest magnitude {self._largest:,.1f}, limit {FLOAT16_MAX:,.0f}). "
                f"Leave it as it is, as with `yt8m-ens merge --keep-float32 {self._name}`."
            )
            raise CastOverflowError(
                msg,
                name=self._name,
                count=self._overflows,
                size=self._size,
                largest=self._largest,
                limit=FLOAT16_MAX,
            )

    def report(self) -> CastReport:
        """Return the account of the blocks cast so far; an empty tensor has zeros throughout."""
        size = max(self._size, 1)
        return CastReport(
            name=self._name,
            size=self._size,
            largest=self._largest,
            underflow_share=self._underflows / size,
            subnormal_share=self._subnormals / size,
            max_error=self._max_error,
            mean_error=self._error_sum / size,
        )

    def _cast(self, block: NDArray[Any]) -> NDArray[np.float16]:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            half = block.astype(np.float16)
            self._size += block.size
            if not block.size:
                return half
            # numpy works on float16 by converting every value, so look at what it decodes to.
            wide = half.astype(block.dtype)
            magnitude = np.abs(wide)
            if not np.isfinite(magnitude.max()):
                self._nans += int(np.isnan(wide).sum())
                self._overflows += int(np.isinf(wide).sum())
            error = np.subtract(wide, block, out=wide)
            np.abs(error, out=error)
        kept = np.count_nonzero(magnitude)
        self._underflows += int(np.count_nonzero(block) - kept)
        below = np.count_nonzero(magnitude < SMALLEST_NORMAL)
        self._subnormals += int(below - (block.size - kept))
        self._largest = max(self._largest, float(block.max()), -float(block.min()))
        self._max_error = max(self._max_error, float(error.max()))
        self._error_sum += float(error.sum(dtype=np.float64))
        return half


def cast_to_float16(
    name: str, array: NDArray[np.floating]
) -> tuple[NDArray[np.float16], CastReport]:
    """Cast a whole tensor; beside the result only one block of scratch memory is held.

    Args:
        name: The tensor, for the report and messages.
        array: Its values, any shape and float dtype.

    Returns:
        The values as float16, same shape, and the report.

    Raises:
        CastOverflowError: If a value rounds past 65,504 or is not finite.
    """
    cast = Float16Cast(name)
    result = np.empty(array.shape, np.float16)
    source, target = array.reshape(-1), result.reshape(-1)
    starts = range(0, array.size, _BLOCK_VALUES)
    blocks = cast.blocks(source[start : start + _BLOCK_VALUES] for start in starts)
    for start, block in zip(starts, blocks, strict=True):
        target[start : start + _BLOCK_VALUES] = block
    return result, cast.report()
