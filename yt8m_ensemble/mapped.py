"""Arrays beyond a size live in unnamed files that are mapped into memory, smaller ones in memory.

Pairs of millions of videos take gigabytes. In mapped files the system can write them out when
memory is short. The files have no name, so they vanish with the process, however it ends; where
there is no room for them, arrays are kept in memory after all.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

_LARGE = 1 << 22
_BLOCK = 1 << 18


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of any content.

    Args:
        shape: Its shape.
        dtype: Its dtype.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _LARGE:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            # Writing to a hole of a full disk would end the process: take the room at once.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))
    except (OSError, AttributeError):  # no room; or macOS, which cannot take it at once
        return np.empty(shape, dtype)


def take(array: NDArray[Any], places: NDArray[np.integer]) -> NDArray[Any]:
    """Return the values at places.

    Args:
        array: Shape `(n,)`.
        places: Shape `(k,)`.

    Returns:
        Shape `(k,)`.
    """
    found = empty(places.shape, array.dtype)
    for part in blocks(len(places)):
        found[part] = array[places[part]]
    return found


def release(*arrays: NDArray[Any]) -> None:
    """Free the memory that arrays of unnamed files take, until they are read again.

    Args:
        arrays: Any; those in memory are left alone. Their contents stay.
    """
    for array in arrays:
        held: Any = array
        while held is not None and not isinstance(held, mmap.mmap):
            # A view's base is an array, a mapped array's base its map.
            held = held.base if isinstance(held, np.ndarray) else None
        if held is not None and hasattr(held, "madvise"):
            held.madvise(mmap.MADV_DONTNEED)


def blocks(length: int) -> Iterator[slice]:
    """Yield slices that cover a long axis, so that what is computed on the way stays small.

    Args:
        length: Of the axis.

    Yields:
        The slices in order.
    """
    for start in range(0, length, _BLOCK):
        yield slice(start, min(start + _BLOCK, length))


class Growing:
    """Array that grows along its last axis, in an unnamed file once it is large."""

    def __init__(self) -> None:
        self._recent: list[NDArray[Any]] = []
        self._recent_bytes = 0
        self._written: list[tuple[tuple[int, ...], np.dtype[Any]]] = []
        self._file: IO[bytes] | None = None
        self._has_room = True

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, part: NDArray[Any]) -> None:
        """Add a part.

        Args:
            part: Like the others but for the last axis; the dtype may differ.
        """
        self._recent.append(part)
        self._recent_bytes += part.nbytes
        if self._recent_bytes >= _LARGE and self._has_room:
            self._write()

    def join(self) -> NDArray[Any]:
        """Return all parts as one array, and forget them."""
        layouts = [*self._written, *((part.shape, part.dtype) for part in self._recent)]
        shape = layouts[0][0]
        dtype = np.result_type(*(dtype for _, dtype in layouts))
        joined = empty((*shape[:-1], sum(shape[-1] for shape, _ in layouts)), dtype)
        start = 0
        for part in self._parts():
            joined[..., start : start + part.shape[-1]] = part
            start += part.shape[-1]
            release(joined)
        self._recent, self._recent_bytes, self._written, self._file = [], 0, [], None
        return joined

    def all(self) -> NDArray[Any]:
        """Return all parts as one array, and keep them."""
        joined = self.join()
        self._recent = [joined]
        return joined

    def _parts(self) -> Iterator[NDArray[Any]]:
        if self._file is not None:
            self._file.seek(0)
            for shape, dtype in self._written:
                yield np.fromfile(self._file, dtype, math.prod(shape)).reshape(shape)
            self._file.close()
        yield from self._recent

    def _write(self) -> None:
        part = np.ascontiguousarray(np.concatenate(self._recent, axis=-1))
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
            os.posix_fallocate(self._file.fileno(), self._file.tell(), part.nbytes)
            self._file.write(part.data)
        except (OSError, AttributeError):  # as in `empty`; then all that follows stays in memory
            self._has_room = False
            return
        self._written.append((part.shape, part.dtype))
        self._recent, self._recent_bytes = [], 0
