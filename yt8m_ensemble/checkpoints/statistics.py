"""What values tensors hold, and how two sources differ; each byte is read once, on all cores."""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from yt8m_ensemble.checkpoints.entries import OPAQUE, numpy_dtype
from yt8m_ensemble.constants import FLOAT16_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Progress, TensorSource, TensorSpec

_BLOCK = 1 << 18  # values: 1 MB of float32, which stays in a core's cache
_WINDOW = 64  # blocks in flight
_NUMERIC = "fiub"

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of a tensor's values; of a complex one, of the magnitudes.

    Args:
        minimum: Smallest finite value; `nan` if there is none.
        maximum: Largest finite value.
        mean: Mean of the finite values, summed in float64.
        zeros: Number of zeros.
        outside_float16: Number of finite values that float16 cannot hold.
        nans: Number of NaN.
        infinities: Number of infinities.
    """

    minimum: float
    maximum: float
    mean: float
    zeros: int
    outside_float16: int
    nans: int
    infinities: int


@dataclass(frozen=True)
class Difference:
    """Difference of one tensor between two sources.

    Args:
        name: The tensor.
        kind: `missing`, `added`, `shape`, `dtype`, `values` or `equal`.
        first: Its shape and dtype in the first source.
        second: In the second.
        largest: Largest |a - b|, in float64; 0 if no numbers were compared.
        mean: Mean |a - b|.
        count: Number of values whose bits differ.
    """

    name: str
    kind: str
    first: str
    second: str
    largest: float = 0.0
    mean: float = 0.0
    count: int = 0


def measure(
    source: TensorSource, *, progress: Progress, threads: int | None = None
) -> dict[str, TensorStatistics]:
    """Measure every numeric tensor of a source.

    Args:
        source: The tensors; those of strings and opaque dtypes are left out.
        progress: Called with the number of megabytes read.
        threads: Blocks at a time; one a core if `None`.

    Returns:
        Statistics by tensor name.
    """
    specs = [spec for spec in source.specs().values() if _is_numeric(spec)]
    parts: dict[str, list[_Part]] = {spec.name: [] for spec in specs}
    buffers = _Buffers()
    jobs = [(spec, start) for spec in specs for start in range(0, spec.size, _BLOCK)]

    def work(job: tuple[TensorSpec, int]) -> tuple[str, int, _Part]:
        spec, start = job
        values = _read(source, spec, start, buffers)
        with np.errstate(invalid="ignore", over="ignore"):
            return spec.name, values.nbytes, _measure_block(values)

    done, total = 0, sum(spec.nbytes for spec in specs)
    for name, nbytes, part in _run(work, jobs, threads):
        parts[name].append(part)
        done += nbytes
        progress("inspect", done / 1e6, total / 1e6, unit="MB")
    return {name: _join(found) for name, found in parts.items()}


def compare(
    first: TensorSource,
    second: TensorSource,
    *,
    progress: Progress,
    threads: int | None = None,
) -> list[Difference]:
    """Compare two sources tensor by tensor.

    Args:
        first: One.
        second: The other.
        progress: Called with the number of megabytes read of each.
        threads: Blocks at a time; one a core if `None`.

    Returns:
        One difference for every tensor that is in either, by name.
    """
    a, b = first.specs(), second.specs()
    found = {name: _compare_specs(name, a, b) for name in sorted(a.keys() | b.keys())}
    numeric = [name for name, d in found.items() if d.kind == "equal" and _is_numeric(a[name])]
    buffers = _Buffers()
    jobs = [(a[name], start) for name in numeric for start in range(0, a[name].size, _BLOCK)]

    def work(job: tuple[TensorSpec, int]) -> tuple[str, int, float, float, int]:
        spec, start = job
        one = _read(first, spec, start, buffers)
        other = _read(second, spec, start, buffers, 1)
        count = _count_different(one, other)
        if not count:
            return spec.name, one.nbytes, 0.0, 0.0, 0
        with np.errstate(invalid="ignore", over="ignore"):
            apart = _distances(one, other)
        return spec.name, one.nbytes, float(apart.max()), float(apart.sum()), count

    sums: dict[str, tuple[float, float, int]] = dict.fromkeys(numeric, (0.0, 0.0, 0))
    done, total = 0, sum(a[name].nbytes for name in numeric)
    for name, nbytes, largest, apart, count in _run(work, jobs, threads):
        before = sums[name]
        sums[name] = (max(before[0], largest), before[1] + apart, before[2] + count)
        done += nbytes
        progress("compare", done / 1e6, total / 1e6, unit="MB")
    for name, difference in found.items():
        if difference.kind != "equal":
            continue
        if name in sums:
            largest, apart, count = sums[name]
        else:
            largest, apart = 0.0, 0.0
            count = int(np.sum(first.read(name) != second.read(name)))
        if count:
            mean = apart / a[name].size
            found[name] = Difference(
                name, "values", difference.first, difference.second, largest, mean, count
            )
    return list(found.values())


@dataclass(frozen=True)
class _Part:
    """What one block adds to a tensor's statistics."""

    minimum: float
    maximum: float
    total: float
    finite: int
    zeros: int
    outside: int
    nans: int
    infinities: int


def _is_numeric(spec: TensorSpec) -> bool:
    return spec.dtype != "string" and spec.dtype not in OPAQUE


class _Buffers(threading.local):
    """Buffers to read into, one a thread, allocated once."""

    def __init__(self) -> None:
        self._memory: dict[int, NDArray[np.uint8]] = {}

    def take(self, number: int, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
        """Return one of the thread's arrays."""
        nbytes = size * dtype.itemsize
        if number not in self._memory or len(self._memory[number]) < nbytes:
            self._memory[number] = np.empty(nbytes, np.uint8)
        return self._memory[number][:nbytes].view(dtype)


def _read(
    source: TensorSource, spec: TensorSpec, start: int, buffers: _Buffers, number: int = 0
) -> NDArray[Any]:
    """Return a block of a tensor; without mapping or reading all of it where the source can."""
    size = min(_BLOCK, spec.size - start)
    read_block = getattr(source, "read_block", None)
    if read_block is None:
        return source.read(spec.name).reshape(-1)[start : start + size]
    values = buffers.take(number, numpy_dtype(spec.dtype), size)
    read_block(spec.name, start, values)
    return values


def _run(
    work: Callable[[_Job], _Result], jobs: list[_Job], threads: int | None
) -> Iterator[_Result]:
    """Run jobs on threads, few in flight at a time.

    Yields:
        Results in the order of the jobs.
    """
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for first in range(0, len(jobs), _WINDOW):
            yield from pool.map(work, jobs[first : first + _WINDOW])


def _count_different(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Return how many values differ in their bits: equal NaN are equal, -0 is not 0."""
    width = min(one.dtype.itemsize, 8)
    differ = one.view(f"u{width}") != other.view(f"u{width}")
    if width < one.dtype.itemsize:
        differ = differ.reshape(len(one), -1).any(1)
    return int(np.count_nonzero(differ))


def _distances(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Return |a - b| of each pair in float64, where integers cannot wrap."""
    wide = np.complex128 if one.dtype.kind == "c" else np.float64
    return np.abs(one.astype(wide) - other.astype(wide))


def _measure_block(values: NDArray[Any]) -> _Part:
    if values.dtype.kind == "c":
        values = np.abs(values)
    elif values.dtype.kind not in _NUMERIC or values.dtype.itemsize == 2:  # noqa: PLR2004
        values = values.astype(np.float32)  # exact for 8- and 16-bit floats and integers
    finite = values
    nans = infinities = 0
    total = float(values.sum(dtype=np.float64))
    # A sum that is finite has only finite terms, so most blocks need no second look.
    if not math.isfinite(total):
        nans, infinities = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        finite = values[np.isfinite(values)]
        total = float(finite.sum(dtype=np.float64))
    minimum = float(finite.min()) if finite.size else math.inf
    maximum = float(finite.max()) if finite.size else -math.inf
    outside = 0
    if max(-minimum, maximum) > FLOAT16_MAX:
        outside = int(np.isinf(finite.astype(np.float16)).sum())
    return _Part(
        minimum,
        maximum,
        total,
        finite.size,
        int(values.size - np.count_nonzero(values)),
        outside,
        nans,
        infinities,
    )


def _join(parts: list[_Part]) -> TensorStatistics:
    count = sum(part.finite for part in parts)
    return TensorStatistics(
        minimum=min((part.minimum for part in parts), default=math.inf) if count else math.nan,
        maximum=max((part.maximum for part in parts), default=math.nan) if count else math.nan,
        mean=math.fsum(part.total for part in parts) / count if count else math.nan,
        zeros=sum(part.zeros for part in parts),
        outside_float16=sum(part.outside for part in parts),
        nans=sum(part.nans for part in parts),
        infinities=sum(part.infinities for part in parts),
    )


def _compare_specs(
    name: str, first: Mapping[str, TensorSpec], second: Mapping[str, TensorSpec]
) -> Difference:
    """Return what the descriptions alone tell."""
    one, other = first.get(name), second.get(name)
    texts = (_describe(one), _describe(other))
    if one is None or other is None:
        return Difference(name, "added" if one is None else "missing", *texts)
    if one.shape != other.shape:
        return Difference(name, "shape", *texts)
    if one.dtype != other.dtype:
        return Difference(name, "dtype", *texts)
    return Difference(name, "equal", *texts)


def _describe(spec: TensorSpec | None) -> str:
    return f"{spec.dtype} {list(spec.shape)}" if spec else "-"
