"""Weighted means of tensors, summed in float64, block by block on all cores. Opens no file.

Error bound: with u = 2^-53 and k inputs, a mean of float32 values is off from the exact one by at
most half a unit in the last place of float32 (its rounding) plus (k + 1) u sum(w |x|).
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.threads import BlockMemory, map_in_order
from yt8m_ensemble.values.dtypes import NUMPY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import TensorSource, TensorSpec

BLOCK_VALUES = 1 << 18
"""Values of a block: 1 MB of float32, which with its sum in float64 stays in a core's cache."""

_MAX_ITEM_SIZE = 16


@runtime_checkable
class BlockSource(Protocol):
    """A `TensorSource` that can fill a buffer with part of a tensor."""

    def read_block(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fill `out` with the values of `name` from `start` on, in row-major order."""
        ...


def mean_blocks(
    sources: Mapping[str, TensorSource],
    specs: Sequence[TensorSpec],
    weights: Sequence[float],
    *,
    allow_nonfinite: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[TensorSpec, Iterator[NDArray[Any]]]]:
    """Average tensors: `sum(w * x)` over the sources, rounded once to the tensor's own dtype.

    The mean of k copies is the copy, bit for bit, and every mean lies between the smallest and the
    largest input. At most a few blocks a thread are held, whatever the number and size of inputs.

    Args:
        sources: The inputs by the name that messages call them; a `BlockSource` is read in blocks.
        specs: The tensors to average, all of a float or complex dtype.
        weights: One for each source, at least 0, sum 1; a source of weight 0 is not read.
        allow_nonfinite: Let NaN and infinities through, by the rules of IEEE arithmetic.
        threads: Blocks computed at a time; one a core if `None`.

    Yields:
        Each spec with the blocks of its mean, row-major, which must be taken in this order. A block
        is valid until the next is taken, for then its memory is used again.

    Raises:
        CheckpointError: If an input holds NaN or an infinity.
    """
    used = {label: s for (label, s), w in zip(sources.items(), weights, strict=True) if w > 0}
    mean = _BlockMean(used, [w for w in weights if w > 0], allow_nonfinite=allow_nonfinite)
    threads = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        jobs = ((spec, start) for spec in specs for start in range(0, spec.size, BLOCK_VALUES))
        means = map_in_order(pool, lambda job: mean(*job), jobs, ahead=2 * threads)

        def blocks_of(spec: TensorSpec) -> Iterator[NDArray[Any]]:
            for _ in range(0, spec.size, BLOCK_VALUES):
                block = next(means)
                yield block
                mean.memory.give_back(block)

        with closing(means):  # which calls off what waits
            for spec in specs:
                yield spec, blocks_of(spec)


class _BlockMean:
    """Compute the mean of one block; called from several threads, each with its own buffers."""

    def __init__(
        self,
        sources: Mapping[str, TensorSource],
        weights: Sequence[float],
        *,
        allow_nonfinite: bool,
    ) -> None:
        self._sources = sources
        # Asking a protocol whether it is met takes as long as reading a small block.
        self._blocks = [s if isinstance(s, BlockSource) else None for s in sources.values()]
        self._weights = weights
        self._is_uniform = len(set(weights)) == 1
        self._allow_nonfinite = allow_nonfinite
        self._local = threading.local()
        self.memory = BlockMemory(BLOCK_VALUES * _MAX_ITEM_SIZE)

    def __call__(self, spec: TensorSpec, start: int) -> NDArray[Any]:
        dtype = NUMPY_DTYPES[spec.dtype]
        size = min(BLOCK_VALUES, spec.size - start)
        out = self.memory.take(size, dtype)
        real = out.view(_real(dtype))
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            is_double = real.dtype == np.float64
            (self._double_mean if is_double else self._rounded_mean)(spec, start, real)
        if not self._allow_nonfinite:
            finite = self._buffer("finite", np.dtype(bool), len(real))
            if not np.isfinite(real, out=finite).all():
                self._blame(spec, start, size)
        return out

    def _rounded_mean(self, spec: TensorSpec, start: int, out: NDArray[Any]) -> None:
        """Sum in float64 and round once, which cannot leave the inputs' range."""
        inputs = self._read_all(spec, start, len(out))
        first = next(inputs)
        total = self._buffer("total", np.dtype(np.float64), len(first))
        if self._is_uniform:
            np.copyto(total, first)
            for values in inputs:
                np.add(total, values, out=total)
            np.divide(total, len(self._weights), out=total)
        else:
            term = self._buffer("term", np.dtype(np.float64), len(first))
            np.multiply(first, self._weights[0], out=total, dtype=np.float64)
            for values, weight in zip(inputs, self._weights[1:], strict=True):
                np.add(total, np.multiply(values, weight, out=term, dtype=np.float64), out=total)
        np.copyto(out, total, casting="same_kind")

    def _double_mean(self, spec: TensorSpec, start: int, out: NDArray[Any]) -> None:
        """Add weighted differences to the first input, as nothing wider than float64 is there.

        Equal inputs differ by nothing, which a sum of weighted inputs would not give.
        """
        inputs = self._read_all(spec, start, len(out))
        first = next(inputs).copy()
        mean, low, high = first.copy(), first.copy(), first.copy()
        for values, weight in zip(inputs, self._weights[1:], strict=True):
            mean += weight * (values - first)
            np.minimum(low, values, out=low)
            np.maximum(high, values, out=high)
        np.copyto(out, np.where(low == high, first, np.clip(mean, low, high)))

    def _read_all(self, spec: TensorSpec, start: int, count: int) -> Iterator[NDArray[Any]]:
        """Yield each input's block, valid until the next; complex values as pairs of reals."""
        dtype = NUMPY_DTYPES[spec.dtype]
        real = _real(dtype)
        size = count * real.itemsize // dtype.itemsize
        for source, in_blocks in zip(self._sources.values(), self._blocks, strict=True):
            if in_blocks is not None:
                values = self._buffer("values", dtype, size)
                in_blocks.read_block(spec.name, start, values)
            else:
                values = source.read(spec.name).reshape(-1)[start : start + size]
            yield values.view(real)

    def _buffer(self, use: str, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
        """Return this thread's array for one use, made once."""
        buffers = self._local.__dict__
        key = f"{use} {dtype.num}"
        if key not in buffers:
            buffers[key] = np.empty(2 * BLOCK_VALUES, dtype)  # pairs, where values are complex
        buffer: NDArray[Any] = buffers[key][:size]
        return buffer

    def _blame(self, spec: TensorSpec, start: int, size: int) -> None:
        """Name the input that made a mean NaN or infinite.

        Raises:
            CheckpointError: Always, unless the inputs are finite and only their sum is not.
        """
        dtype = NUMPY_DTYPES[spec.dtype]
        blocks = self._read_all(spec, start, size * dtype.itemsize // _real(dtype).itemsize)
        for label, values in zip(self._sources, blocks, strict=True):
            count = int((~np.isfinite(values)).sum())
            if count:
                msg = (
                    f"'{spec.name}' in '{label}' holds NaN or infinity ({count} of the "
                    f"{size:,} values from {start:,} on). Leave that checkpoint out, or pass "
                    "`--allow-nonfinite`."
                )
                raise CheckpointError(
                    msg, tensor=spec.name, checkpoint=label, count=count, start=start
                )


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a complex dtype's parts; any other as it is."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
