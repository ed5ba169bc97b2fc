"""Data files: as memory maps, or block by block with an account of checksums. Never writes."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.checksums import combine, crc32c, mask
from yt8m_ensemble.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Shard:
    """One data file, mapped into memory.

    Local files are opened once and stay open, so that a file replaced meanwhile does no harm. A
    remote file is read whole on first use.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._view: memoryview | None = None
        self._descriptor: int | None = None

    def view(self) -> memoryview:
        """Return the whole file as read-only memory, mapped where the file is local."""
        with self._lock:
            if self._view is None:
                self._view = memoryview(self._map())
            return self._view

    def read_into(self, offset: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` with the bytes from `offset` on.

        Unlike `view` this leaves no pages of the file in the process's memory, and a file that is
        cut short meanwhile is an error, not a crash.

        Args:
            offset: First byte.
            out: Contiguous bytes to fill.

        Raises:
            CheckpointError: If the file ends before.
        """
        if files.is_remote(self.path):
            out[:] = np.frombuffer(self.view()[offset : offset + len(out)], np.uint8)
            return
        descriptor = self._open()
        done = 0
        while done < len(out):
            count = os.preadv(descriptor, [out[done:].data], offset + done)
            if not count:
                msg = (
                    f"'{self.path}' ends at byte {offset + done:,}, "
                    f"{offset + len(out):,} were there when it was opened."
                )
                raise CheckpointError(
                    msg, path=self.path, found=offset + done, expected=offset + len(out)
                )
            done += count

    def close(self) -> None:
        """Let go of the file; memory that `view` gave out stays valid."""
        with self._lock:
            self._view = None
            if self._descriptor is not None:
                self._closer()
                self._descriptor = None

    def _open(self) -> int:
        with self._lock:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDONLY)
                self._closer = weakref.finalize(self, os.close, self._descriptor)
            return self._descriptor

    def _map(self) -> bytes | mmap.mmap:
        if files.is_remote(self.path):
            return files.read_bytes(self.path)
        with Path(self.path).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class ChecksumTracker:
    """Collect the checksums of a tensor's blocks, read in any order by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
        self._seen: Counter[tuple[int, int]] = Counter()

    def enter(
        self, tensor: tuple[int, int], size: int, start: int, block: NDArray[Any]
    ) -> int | None:
        """Note a block that was read.

        Args:
            tensor: Shard and offset, which identify the tensor.
            size: The tensor's bytes.
            start: First byte of the block within the tensor.
            block: The bytes read.

        Returns:
            The masked checksum of the whole tensor once its last block is in; else `None`.
        """
        crc = crc32c(block.data)
        with self._lock:
            blocks = self._blocks.setdefault(tensor, {})
            _, before = blocks.get(start, (0, 0))
            blocks[start] = (crc, len(block))
            self._seen[tensor] += len(block) - before
            if self._seen[tensor] < size:
                return None
            del self._blocks[tensor], self._seen[tensor]
        total = position = 0
        for first, (block_crc, length) in sorted(blocks.items()):
            if first != position:
                return None  # overlapping blocks tell nothing
            total = combine(total, block_crc, length)
            position += length
        return mask(total)
