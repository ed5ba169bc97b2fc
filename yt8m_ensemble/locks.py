"""Locks between processes of one machine: an empty file beside what is locked, held by `flock`.

A lock ends with its process, however that ends; a file that a killed process left is taken over.
Holds no path of the toolkit and reads no file.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def lock_path(target: Path) -> Path:
    """Return the file that is there while a path is locked, or after its holder was killed."""
    return target.with_name(f".{target.name}.lock")


@contextmanager
def lock(target: str, *, wait: bool) -> Iterator[None]:
    """Lock a local path while the block runs.

    Args:
        target: What is locked; it need not exist, its directory must.
        wait: Wait for another holder instead of refusing.

    Yields:
        Nothing.

    Raises:
        BlockingIOError: If another process or thread holds it and `wait` is not set.
    """
    path = lock_path(Path(target))
    descriptor = _acquire(path, wait=wait)
    try:
        yield
    finally:
        # While it is still held: whoever waits for this file finds that it is gone, and tries anew.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, *, wait: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # The holder that was waited for has removed this file: a lock on it keeps nobody out.
        os.close(descriptor)
