"""The one door to files: globs, whole reads, digests, and outputs that appear whole or not at all.

Local paths go the fast way; paths with a scheme (`gs://`, `ram://`, …) go through TensorFlow's file
layer, which is imported only then. Never interprets what a file holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from yt8m_ensemble.errors import DataError, OutputExistsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 20


def is_remote(path: str) -> bool:
    """Return whether a path belongs to TensorFlow's file layer."""
    return "://" in path


def exists(path: str) -> bool:
    """Return whether there is a file or directory."""
    return bool(_gfile().exists(path)) if is_remote(path) else Path(path).exists()


def is_dir(path: str) -> bool:
    """Return whether there is a directory."""
    return bool(_gfile().isdir(path)) if is_remote(path) else Path(path).is_dir()


def list_dir(path: str) -> list[str]:
    """Return the names in a directory, sorted; none if there is no such directory."""
    if not is_dir(path):
        return []
    if is_remote(path):
        names = _gfile().listdir(path)
    else:
        names = [entry.name for entry in Path(path).iterdir()]
    return sorted(name.rstrip("/") for name in names)


def expand_globs(patterns: str, *, option: str) -> list[str]:
    """List the files that comma-separated globs match, sorted within each glob.

    Args:
        patterns: E.g. `train*.tfrecord` or `gs://bucket/a*,gs://bucket/b*`.
        option: The option that the patterns came from, for the message.

    Returns:
        The paths, each once.

    Raises:
        DataError: If any one of the globs matches no file.
    """
    paths: list[str] = []
    for pattern in patterns.split(","):
        find = _gfile().glob if is_remote(pattern) else glob
        found = find(pattern)
        if not found:
            msg = f"No file matches '{pattern}'. Check the path given to `{option}`, and quote it."
            raise DataError(msg, pattern=pattern, option=option)
        paths += sorted(found)
    return list(dict.fromkeys(paths))


def check_regular(path: str) -> None:
    """Refuse what is there but is no file: reading a named pipe or a device may never end.

    Raises:
        DataError: If it is a directory, a pipe, a socket or a device.
    """
    if not is_remote(path) and Path(path).exists() and not Path(path).is_file():
        msg = f"'{path}' is no regular file. Copy what it delivers to a file, and name that."
        raise DataError(msg, path=path)


def read_bytes(path: str) -> bytes:
    """Return a whole file."""
    if is_remote(path):
        with _gfile().GFile(path, "rb") as file:
            return bytes(file.read())
    return Path(path).read_bytes()


def read_limited(path: str, *, limit: int) -> bytes:
    """Return a whole file of at most `limit` bytes.

    Raises:
        DataError: If it has more, or is no regular file.
    """
    check_regular(path)
    if (found := size(path)) > limit:
        msg = f"'{path}' has {found:,} bytes, of such a file at most {limit:,} are read."
        raise DataError(msg, path=path, found=found, limit=limit)
    return read_bytes(path)


def size(path: str) -> int:
    """Return a file's bytes without reading it."""
    return int(_gfile().stat(path).length) if is_remote(path) else Path(path).stat().st_size


def read_text(path: str) -> str:
    """Return a whole UTF-8 file."""
    return read_bytes(path).decode()


def open_binary(path: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
    """Return a file open for reading or writing bytes; use it as a context manager."""
    opened: BinaryIO = _gfile().GFile(path, mode) if is_remote(path) else Path(path).open(mode)  # noqa: SIM115
    return opened


def sha256(path: str) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def copy(source: str, target: str) -> None:
    """Copy a file, either end local or remote; an existing target is replaced."""
    if is_remote(source) or is_remote(target):
        remove(target)  # some file systems write into an old file instead of replacing it
        with open_binary(source) as reader, open_binary(target, "wb") as writer:
            while block := reader.read(_BLOCK):
                writer.write(block)
    else:
        shutil.copyfile(source, target)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    if not is_remote(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        _gfile().remove(path)


def check_absent(path: str, *, force: bool) -> None:
    """Refuse an output that is already there.

    Raises:
        OutputExistsError: If it exists and `force` is not set.
    """
    if not force and exists(path):
        msg = f"'{path}' exists already. Pass `--force` to replace it, or choose another name."
        raise OutputExistsError(msg, path=path)


@contextmanager
def atomic_file(path: str, *, force: bool = False) -> Iterator[str]:
    """Yield a temporary name beside `path`, renamed to it when the block ends without error.

    An interrupted block leaves the old file or none; the temporary file is removed.

    Args:
        path: The target; missing parent directories are made.
        force: Replace an existing target.

    Yields:
        The name to write to.

    Raises:
        OutputExistsError: If the target exists and `force` is not set.
    """
    check_absent(path, force=force)
    if is_remote(path):
        temporary = f"{path}.part-{os.getpid()}"
        try:
            yield temporary
            _gfile().rename(temporary, path, overwrite=True)
        finally:
            if _gfile().exists(temporary):
                _gfile().remove(temporary)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        yield str(part)
        fsync(str(part))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str, *, force: bool = False) -> Iterator[str]:
    """Yield a temporary directory beside `path`, renamed to it when the block ends without error.

    With `force` an old directory is moved aside only once the new one is whole, so that an
    interruption costs at most the time of two renames and never the old files.

    Args:
        path: The target directory, local.
        force: Replace an existing target.

    Yields:
        The directory to write into.

    Raises:
        UsageError: If the path is remote: nothing there appears as a whole.
        OutputExistsError: If the target exists and `force` is not set.
    """
    if is_remote(path):
        msg = f"'{path}' is not on a local disk. Write the directory locally, then copy it there."
        raise UsageError(msg, path=path)
    target = Path(path)
    if not (target.is_dir() and not any(target.iterdir())):
        check_absent(path, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    try:
        yield str(part)
        part.chmod(0o755)
        for name in part.iterdir():
            fsync(str(name))
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            target.rename(old / target.name)
            part.rename(target)
            shutil.rmtree(old)
        else:
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: str, text: str, *, force: bool = False) -> None:
    """Write a UTF-8 file atomically.

    Raises:
        OutputExistsError: If it exists and `force` is not set.
    """
    with atomic_file(path, force=force) as temporary:
        if is_remote(temporary):
            with _gfile().GFile(temporary, "w") as file:
                file.write(text)
        else:
            Path(temporary).write_text(text, encoding="utf-8")


def fsync(path: str) -> None:
    """Make sure that a local file's bytes have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile
