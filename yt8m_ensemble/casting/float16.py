"""float32 to float16 for storage, with what it did to every tensor. Opens no file.

Rounding is to the nearest value, ties to even (IEEE 754 binary16): 11 significant bits, so a normal
value is off by at most |x| * 2^-11; below 2^-14 values lose bits and below 2^-25 they become zero.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.casting.report import BlockErrors, CastReport, join_errors
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
_FIRST_OVERFLOW = 65_520.0  # rounds to 65,536
_EXPONENT_BITS = np.uint32(0xFF << 23)
_TIMES_8192 = np.uint32(13 << 23)  # added to the exponent
_LOST_BITS = np.uint32(13)
_SIGN_BIT = np.uint32(1 << 15)
_BIAS_BITS = np.uint16((126 << 10) & 0xFFFF)  # 13 + 127 above the float16's own 15, and 1


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
        self._errors: list[BlockErrors] = []

    def blocks(self, blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float16]]:
        """Cast blocks as they come.

        Args:
            blocks: Runs of the tensor's values, any shape and float dtype.

        Returns:
            Each block as float16; see `collect`.
        """
        return self.collect(map(cast_block, blocks))

    def collect(
        self, results: Iterable[tuple[NDArray[np.float16], BlockErrors]]
    ) -> Iterator[NDArray[np.float16]]:
        """Take account of blocks that `cast_block` cast, perhaps in other threads.

        All blocks are looked at before an overflow is reported, so that the message counts it all.

        Args:
            results: What `cast_block` returned, in the order of the tensor's values.

        Yields:
            Each block as float16.

        Raises:
            CastOverflowError: After the last block, if a value rounds past 65,504 or is not finite.
        """
        for half, errors in results:
            self._errors.append(errors)
            yield half
        size = sum(errors.size for errors in self._errors)
        nans = sum(errors.nans for errors in self._errors)
        overflows = sum(errors.overflows for errors in self._errors)
        if nans:
            msg = (
                f"{nans:,} of {size:,} values in '{self._name}' are NaN. "
                "Use an earlier checkpoint; training has diverged."
            )
            raise CastOverflowError(msg, name=self._name, count=nans, size=size)
        if overflows:
            largest = self.report().largest
            msg = (
                f"{overflows:,} of {size:,} values in '{self._name}' do not fit "
                f"float16 (largest magnitude {largest:,.1f}, limit {FLOAT16_MAX:,.0f}). "
                f"Leave it as it is, as with `yt8m-ens merge --keep-float32 {self._name}`."
            )
            raise CastOverflowError(
                msg,
                name=self._name,
                count=overflows,
                size=size,
                largest=largest,
                limit=FLOAT16_MAX,
            )

    def report(self) -> CastReport:
        """Return the account of the blocks cast so far; an empty tensor has zeros throughout."""
        return join_errors(self._name, self._errors)


def cast_block(
    block: NDArray[np.floating], out: NDArray[np.float16] | None = None
) -> tuple[NDArray[np.float16], BlockErrors]:
    """Cast a block; threads may call this at once.

    Args:
        block: Values, any shape and float dtype.
        out: Where to put them, contiguous, of the same shape; a new array if `None`.

    Returns:
        The values as float16, those that do not fit as infinities, and what casting did to them.
    """
    half = np.empty(block.shape, np.float16) if out is None else out
    if not block.size:
        return half, BlockErrors()
    if block.dtype == np.float32 and block.size <= _BLOCK_VALUES:
        found = _cast_float32(block.reshape(-1), half.reshape(-1))
        if found is not None:
            return half, found
    return half, _cast_any(block, half)


class _Scratch(threading.local):
    """A thread's memory for the steps of `_cast_float32`."""

    def __init__(self) -> None:
        self.floats = [np.empty(_BLOCK_VALUES, np.float32) for _ in range(4)]
        self.bools = np.empty(_BLOCK_VALUES, np.bool_)


_SCRATCH = _Scratch()


def _cast_float32(block: NDArray[np.float32], out: NDArray[np.float16]) -> BlockErrors | None:
    """Cast values with whole-array steps, each at the speed of memory.

    numpy's own cast goes value by value. Here a power of two is added to the magnitude: p = 2^13 *
    2^e to one in [2^e, 2^(e+1)), so that the sum keeps the 10 bits below 2^e that a float16 has,
    and the processor's addition rounds, ties to even. p = 1/2 does so for what becomes subnormal.
    bits(|x| + p) - bits(p) is then the float16's significand, its leading bit included, and
    bits(p) >> 13 its exponent, both in place but for a constant.

    Returns:
        What casting did; `None` if a value does not fit, and then `out` is not filled.
    """
    magnitude, power, total, rounded = (memory[: block.size] for memory in _SCRATCH.floats)
    is_counted = _SCRATCH.bools[: block.size]
    largest = float(np.abs(block, out=magnitude).max())
    if not largest < _FIRST_OVERFLOW:  # NaN, too
        return None
    power_bits, total_bits = power.view(np.uint32), total.view(np.uint32)
    np.bitwise_and(magnitude.view(np.uint32), _EXPONENT_BITS, out=power_bits)
    np.add(power_bits, _TIMES_8192, out=power_bits)
    np.maximum(power, np.float32(0.5), out=power)
    np.add(magnitude, power, out=total)
    np.subtract(total, power, out=rounded)

    np.subtract(total_bits, power_bits, out=total_bits)
    np.right_shift(power_bits, _LOST_BITS, out=power_bits)
    np.add(total_bits, power_bits, out=total_bits)
    np.right_shift(block.view(np.uint32), np.uint32(16), out=power_bits)
    np.bitwise_and(power_bits, _SIGN_BIT, out=power_bits)
    np.add(total_bits, power_bits, out=total_bits)
    half_bits = out.view(np.uint16)
    np.copyto(half_bits, total_bits, casting="unsafe")
    np.subtract(half_bits, _BIAS_BITS, out=half_bits)

    error = np.subtract(rounded, magnitude, out=total)
    np.abs(error, out=error)
    below = int(np.count_nonzero(np.less(rounded, np.float32(SMALLEST_NORMAL), out=is_counted)))
    zeros = underflows = 0
    if below:
        zeros = int(np.count_nonzero(np.equal(rounded, 0, out=is_counted)))
        underflows = zeros - int(np.count_nonzero(np.equal(magnitude, 0, out=is_counted)))
    return BlockErrors(
        size=block.size,
        largest=largest,
        underflows=underflows,
        subnormals=below - zeros,
        max_error=float(error.max()),
        error_sum=float(error.sum(dtype=np.float64)),
    )


def _cast_any(block: NDArray[np.floating], out: NDArray[np.float16]) -> BlockErrors:
    """Cast values of any float dtype, which may not fit.

    Returns:
        What casting did.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(out, block, casting="same_kind")
        # numpy works on float16 by converting every value, so look at what it decodes to.
        wide = out.astype(block.dtype)
        magnitude = np.abs(wide)
        error = np.abs(wide - block)
    kept = np.count_nonzero(magnitude)
    return BlockErrors(
        size=block.size,
        largest=max(float(block.max()), -float(block.min())),
        underflows=int(np.count_nonzero(block) - kept),
        subnormals=int(np.count_nonzero(magnitude < SMALLEST_NORMAL) - (block.size - kept)),
        max_error=float(error.max()),
        error_sum=float(error.sum(dtype=np.float64)),
        nans=int(np.count_nonzero(np.isnan(wide))),
        overflows=int(np.count_nonzero(np.isinf(wide))),
    )


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
    parts = [slice(at, at + _BLOCK_VALUES) for at in range(0, array.size, _BLOCK_VALUES)]
    for _ in cast.collect(cast_block(source[part], target[part]) for part in parts):
        pass
    return result, cast.report()
