"""HDF5 files where HDF5 crashes or never ends: a write fails, or heaps and trees are damaged.

So nothing is written through HDF5 that the disk has not promised room for, and files are checked
before it reads them. Knows no layout.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP_HEADER_BYTES = 16  # of a global heap, and of each of its objects
_LOCAL_HEAP_BYTES = 32
_NODE_HEADER_BYTES = 24
_NO_BLOCK = 1  # what the last free block of a local heap names as the next
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


def check_heaps(path: str) -> None:
    """Refuse a file with a heap or a tree that HDF5 would walk for ever; reads every byte.

    Args:
        path: The file.

    Raises:
        OSError: If there is one; says where.
    """
    with Path(path).open("rb") as file, _map(file) as data:
        base = _base(data)
        for signature in _WALKED:
            start = data.find(signature)
            while start >= 0:
                if _is_endless(data, start, base):
                    _refuse(path, start)
                start = data.find(signature, start + 1)


def check_heaps_of_attributes(path: str) -> None:
    """Refuse a file that HDF5 would open, list, read the attributes of or seek a chunk in for ever.

    Looks only at what HDF5 reads for that, so that the size of datasets does not matter. Other
    damage is left to whoever reads the file.

    Args:
        path: The file.

    Raises:
        OSError: If there is a heap or a tree that it would walk for ever; says where.
    """
    import h5py

    def look(_: str, item: h5py.HLObject) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.chunks:
            item.id.get_num_chunks()  # walks the whole index

    with _Watched(path) as watched:
        with suppress(Exception), h5py.File(watched, "r") as file:
            look("", file)
            file.visititems(look)
        if watched.endless is not None:
            _refuse(path, watched.endless)


class _Watched(io.FileIO):
    """A file that does not deliver to HDF5 what it would walk in for ever.

    Attributes:
        endless: Where such a heap or tree begins that was asked for; `None` if none was.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, "rb")
        self.endless: int | None = None
        self._data = _map(self)
        self._base = _base(self._data)

    def readinto(self, buffer: Any, /) -> int:
        start = self.tell()  # HDF5 reads structures from their first byte on
        if _is_endless(self._data, start, self._base):
            self.endless = start
            _refuse(str(self.name), start)
        return super().readinto(buffer) or 0

    def close(self) -> None:
        if not self.closed:
            self._data.close()
        super().close()


def _map(file: io.FileIO | io.BufferedReader) -> mmap.mmap:
    """Return a file's bytes; of an empty file a zero, which is no structure either."""
    if not os.fstat(file.fileno()).st_size:
        return mmap.mmap(-1, 1)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _refuse(path: str, start: int) -> NoReturn:
    raise OSError(errno.EIO, f"a heap or a tree at byte {start:,} does not end", path)


def _base(data: mmap.mmap) -> int:
    """Return where an HDF5 file begins in what may hold it, as an archive does."""
    return max(data.find(_SIGNATURE), 0)


def _is_endless(data: mmap.mmap, start: int, base: int) -> bool:
    if start + _HEAP_HEADER_BYTES > len(data):
        return False
    find = _WALKED.get(data[start : start + 5])
    return bool(find and find(data, start, base))


def _is_endless_global(data: mmap.mmap, start: int, base: int) -> bool:
    """Return whether the objects of a global heap (HDF5 specification, III.E) miss its end."""
    del base
    (heap_size,) = struct.unpack_from("<Q", data, start + 8)
    place, end = start + _HEAP_HEADER_BYTES, start + heap_size
    while place + _HEAP_HEADER_BYTES <= min(end, len(data)):
        number, size = struct.unpack_from("<H6xQ", data, place)
        # The object without a number is free space, whose size counts its header.
        step = _HEAP_HEADER_BYTES + (size + 7) // 8 * 8 if number else size
        if not _HEAP_HEADER_BYTES <= step <= end - place:
            return True
        place += step
    return False


def _is_endless_local(data: mmap.mmap, start: int, base: int) -> bool:
    """Return whether the free blocks of a local heap (III.D) lead back to one of them."""
    if start + _LOCAL_HEAP_BYTES > len(data):
        return False
    size, block, first = struct.unpack_from("<QQQ", data, start + 8)
    first += base
    seen = set()
    # A block outside the heap ends it too: HDF5 refuses that by itself.
    while block != _NO_BLOCK and block < size and first + block + 8 <= len(data):
        if block in seen:
            return True
        seen.add(block)
        (block,) = struct.unpack_from("<Q", data, first + block)
    return False


def _is_endless_groups(data: mmap.mmap, start: int, base: int) -> bool:
    """Return whether a node of a group's tree (III.A.1) has a child that is not one level lower.

    HDF5 goes from child to child until the stack is full, which ends the process.
    """
    return _leads_back(data, start, _levels_below(data, start, base, key_bytes=8))


def _is_endless_chunks(data: mmap.mmap, start: int, base: int) -> bool:
    """Return whether a node of a dataset's tree of chunks (III.A.1) has such a child.

    Its keys hold a number for every axis, and the node does not say how many axes there are: the
    number is taken by which most of the children are nodes.
    """
    below = (_levels_below(data, start, base, key_bytes=16 + 8 * rank) for rank in range(1, 33))
    return _leads_back(data, start, max(below, key=len))


def _leads_back(data: mmap.mmap, start: int, below: list[int]) -> bool:
    return any(level >= data[start + 5] for level in below)


def _levels_below(data: mmap.mmap, start: int, base: int, *, key_bytes: int) -> list[int]:
    """Return the levels of a node's children that are nodes of its kind; a leaf has none."""
    if start + _NODE_HEADER_BYTES > len(data):
        return []
    kind, level, entries = struct.unpack_from("<BBH", data, start + 4)
    if not level:
        return []
    step = key_bytes + 8
    first = start + _NODE_HEADER_BYTES + key_bytes
    places = range(first, min(first + step * entries, len(data) - 7), step)
    children = [base + struct.unpack_from("<Q", data, place)[0] for place in places]
    node = b"TREE" + bytes([kind])
    return [data[child + 5] for child in children if data[child : child + 5] == node]


# By signature and version, or kind. Behind the version HDF5 skips three bytes.
_WALKED = {
    b"GCOL\x01": _is_endless_global,
    b"HEAP\x00": _is_endless_local,
    b"TREE\x00": _is_endless_groups,
    b"TREE\x01": _is_endless_chunks,
}
