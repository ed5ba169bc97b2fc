"""Directories for what is unpacked or copied while a block runs.

They go when the block ends. One that a killed process left goes when the next is made, by any
process of the same user: its lock tells that nobody uses it. Holds nothing that must survive.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX: Final = "yt8m-ens-scratch-"


@contextmanager
def scratch_directory() -> Iterator[str]:
    """Make a directory among the system's temporary ones; stale ones are removed first.

    Yields:
        Its path; it is removed when the block ends.
    """
    _remove_stale()
    path, descriptor = _make()
    try:
        # What is yielded may be replaced as a whole; the directory around it bears the lock.
        inner = Path(path, "content")
        inner.mkdir()
        yield str(inner)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _make() -> tuple[str, int]:
    """Return a new directory and the descriptor that holds its lock."""
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX)
        # Until it is locked, another process may take it for a stale one.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if Path(path).exists():
                return path, descriptor
            os.close(descriptor)


def _remove_stale() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # of another user, in use, or gone meanwhile
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
