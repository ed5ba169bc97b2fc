"""HDF5 files where the disk may be full: HDF5 itself crashes when a write fails.

So nothing is written through HDF5 that the disk has not promised room for. Knows no layout.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAP = b"GCOL\x01"  # signature and version of a global heap; HDF5 skips the bytes behind it
_HEAP_HEADER_BYTES = 16  # of the heap, and of each object
_SPARE_BYTES = 1 << 20  # object headers and indexes of chunks


def create(
    path: str, attributes: Mapping[str, Any] | None = None, *, libver: str | None = None
) -> None:
    """Write an HDF5 file without datasets, to be opened with `r+`.

    Args:
        path: The file; an old one is replaced.
        attributes: Attributes of its root.
        libver: Version of the format, as h5py names it; `None` for the one that all can read.
    """
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w", libver=libver) as file:
        file.attrs.update(attributes or {})
    Path(path).write_bytes(image.getvalue())


def reserve(path: str, size: int) -> None:
    """Make sure that a file can grow to a size, by growing it; HDF5 ignores what lies past its end.

    Args:
        path: The file.
        size: Bytes of its datasets; room for what HDF5 needs beside them is added.

    Raises:
        OSError: If the disk, a quota or a limit does not allow it; the file is as it was.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    before = Path(path).stat().st_size
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size + size // 64 + _SPARE_BYTES)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:  # not on this file system
            return
        os.ftruncate(descriptor, before)
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def check_heaps(path: str, *, first_bytes: int = 0) -> None:
    """Refuse a file in whose heaps of texts HDF5 would walk in a circle for ever.

    Args:
        path: The file.
        first_bytes: Look only at so many bytes; 0 looks at all.

    Raises:
        OSError: If an object of a heap is smaller than its own header, or reaches beyond the heap.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return
        with mmap.mmap(
            file.fileno(), min(size, first_bytes or size), access=mmap.ACCESS_READ
        ) as data:
            start = data.find(_HEAP)
            while start >= 0:
                if not _ends(data, start):
                    raise OSError(errno.EIO, f"a heap at byte {start:,} does not end", path)
                start = data.find(_HEAP, start + 1)


def _ends(data: mmap.mmap, start: int) -> bool:
    """Return whether the objects of a global heap (HDF5 specification, III.E) reach its end."""
    if start + _HEAP_HEADER_BYTES > len(data):
        return True
    (heap_size,) = struct.unpack_from("<Q", data, start + 8)
    place, end = start + _HEAP_HEADER_BYTES, start + heap_size
    while place + _HEAP_HEADER_BYTES <= min(end, len(data)):
        number, size = struct.unpack_from("<H6xQ", data, place)
        # The object without a number is free space, whose size counts its header.
        step = _HEAP_HEADER_BYTES + (size + 7) // 8 * 8 if number else size
        if not _HEAP_HEADER_BYTES <= step <= end - place:
            return False
        place += step
    return True
