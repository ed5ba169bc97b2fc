"""The one door to files: globs, whole reads, digests, and outputs that appear whole or not at all.

Local paths go the fast way; paths with a scheme (`gs://`, `ram://`, …) go through TensorFlow's file
layer, which is imported only then. Never interprets what a file holds.
"""

from __future__ import annotations

import csv
import ctypes
import errno
import hashlib
import io
import logging
import os
import shutil
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from yt8m_ensemble.companions import (
    ENDINGS,
    described,
    hidden_name,
    recover_companions,
)
from yt8m_ensemble.errors import DataError, FileError, OutputExistsError, UsageError
from yt8m_ensemble.locks import lock
from yt8m_ensemble.parts import discard, final_name, is_stale, make_part, new_mark, remove_part

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 20
_LOG = logging.getLogger(__name__)
_ROOM = "Make room, or write to another disk"
_RIGHTS = "Change its permissions, or choose a place that can be written to"
_ADVICE = {
    errno.ENOENT: "Check the path",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "Raise the limit on the size of files (`ulimit -f`), or write to another disk",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: "A directory of the path is a file; choose another path",
    errno.EEXIST: "A file is in the way; choose another path",
    errno.EISDIR: "Name a file, not a directory",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EMFILE: "Raise the limit on open files (`ulimit -n`), or give fewer files at a time",
    errno.ENFILE: "Close other programs, or give fewer files at a time",
}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # from <fcntl.h> and <linux/fs.h>


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
    """Return a whole UTF-8 file, without the mark that some editors begin it with.

    Raises:
        DataError: If it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        msg = (
            f"'{path}' is not UTF-8 text: byte {error.start:,} is {byte:#04x}. Restore the file, "
            "or save it as UTF-8."
        )
        raise DataError(msg, path=path, place=error.start) from error


def read_csv(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a UTF-8 CSV file, whatever its line ends.

    Yields:
        Number of the row's last line, from 1, and its fields.

    Raises:
        DataError: If it is not UTF-8 or no CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        msg = (
            f"Line {reader.line_num} of '{path}' is no line of a CSV file: {error}. Write the file "
            "again."
        )
        raise DataError(msg, path=path, line=reader.line_num) from error


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


def remove_tree(path: str) -> None:
    """Remove a directory and all that it holds, if it is there."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
    elif is_dir(path):
        _gfile().rmtree(path)


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

    An interrupted block leaves the old file or none; the temporary file is removed. Of several
    writers without `force`, one succeeds. What describes the output, written beside the temporary
    name as `<name>.provenance.json`, appears in the same step; see `companions`. What described a
    replaced output goes with it.

    Args:
        path: The target; missing parent directories are made.
        force: Replace an existing target.

    Yields:
        The name to write to.

    Raises:
        OutputExistsError: If the target exists and `force` is not set.
        UsageError: If the target is a directory or a device.
    """
    check_absent(path, force=force)
    if is_dir(path) or (not is_remote(path) and exists(path) and not Path(path).is_file()):
        msg = f"'{path}' is {'a directory' if is_dir(path) else 'a device'}. Name a file to write."
        raise UsageError(msg, path=path)
    if is_remote(path):
        for left in _gfile().glob(f"{escape(path)}.part-*"):
            if is_stale(left):
                remove(left)
        temporary = f"{path}{new_mark()}"
        try:
            yield temporary
            _rename_remote(temporary, path)
        finally:
            for ending in ("", *ENDINGS):
                remove(f"{temporary}{ending}")
        return
    part = make_part(path)
    try:
        yield str(part)
        fsync(str(part))
        rename_file(str(part), path, force=force)
    finally:
        remove_part(part)


@contextmanager
def atomic_directory(path: str, *, force: bool = False) -> Iterator[str]:
    """Yield a temporary directory beside `path`, renamed to it when the block ends without error.

    With `force` the old and the new directory change places in one step. Where the file system
    cannot do that, `recover_output` finishes what an interruption left between two renames.
    What describes the directory appears with it, as with `atomic_file`.

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
    recover_output(path)
    if not (target.is_dir() and not any(target.iterdir())):
        check_absent(path, force=force)
    part = make_part(path)
    part.mkdir()
    try:
        yield str(part)
        for name in part.iterdir():
            fsync(str(name))
        _rename_directory(part, target, force=force)
    finally:
        remove_part(part)


def recover_output(path: str) -> bool:
    """Finish the replacement of an output that was interrupted between two renames.

    Returns:
        Whether there was one.
    """
    if is_remote(path):
        return False
    target = Path(path)
    waiting = hidden_name(target, "swap")
    if is_interrupted := waiting.is_dir():
        with lock(path, wait=True):
            if waiting.is_dir():
                _finish_directory(waiting, target)
    is_interrupted |= recover_companions(target)
    if is_interrupted:
        _LOG.warning("Finished the interrupted replacement of '%s'.", path)
    return is_interrupted


def rename_file(part: str, path: str, *, force: bool) -> None:
    """Rename a whole local file, and what describes it, to its final name.

    Args:
        part: The file, in the same directory.
        path: Its name.
        force: Replace an existing file.

    Raises:
        OutputExistsError: If there is one and `force` is not set, even if it has just appeared.
    """
    with described(Path(part), Path(path), sync=fsync):
        _rename_file(Path(part), Path(path), force=force)
    fsync(str(Path(path).parent))


def _rename_file(part: Path, target: Path, *, force: bool) -> None:
    if force:
        part.replace(target)
        return
    try:
        os.link(part, target)
    except FileExistsError:
        check_absent(str(target), force=False)
    except OSError:  # no hard links here
        with lock(str(target), wait=True):
            check_absent(str(target), force=False)
            part.replace(target)


def _rename_directory(part: Path, target: Path, *, force: bool) -> None:
    fsync(str(part))
    with described(part, target, sync=fsync):
        if not force:
            try:
                part.rename(target)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                    raise
                check_absent(str(target), force=False)
            return
        with lock(str(target), wait=True):
            if not target.exists():
                part.rename(target)
            elif not _exchange(part, target):
                waiting = hidden_name(target, "swap")
                part.rename(waiting)
                _finish_directory(waiting, target)


def _rename_remote(part: str, path: str) -> None:
    # Nothing there changes in one step: what describes an output may be missing for a moment.
    for ending in ENDINGS:
        remove(f"{path}{ending}")
    for ending in ("", *ENDINGS):
        if exists(f"{part}{ending}"):
            _gfile().rename(f"{part}{ending}", f"{path}{ending}", overwrite=True)


def _finish_directory(waiting: Path, target: Path) -> None:
    if target.exists():
        old = make_part(str(target))
        target.rename(old)
        waiting.rename(target)
        discard(old)
    else:
        waiting.rename(target)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step.

    Returns:
        Whether the system could.
    """
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # not Linux
        return False
    return not swap(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)


def write_text(path: str, text: str, *, force: bool = False) -> None:
    """Write a UTF-8 file atomically.

    Raises:
        OutputExistsError: If it exists and `force` is not set.
    """
    with atomic_file(path, force=force) as part:
        write_part(part, text)


def write_part(part: str, text: str) -> None:
    """Write a UTF-8 file that has only a temporary name."""
    with open_binary(part, "wb") as file:
        file.write(text.encode())


def file_error(error: OSError, *, option: str | None = None) -> FileError:
    """Return what the file system refused, as an error that says what to do.

    Args:
        error: As the system raised it.
        option: The option that named the path, where it is known.
    """
    path = error.filename2 or error.filename or ""
    path = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
    path = final_name(path)  # the one that users know
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "Check the path, and try again")
    checked = f" given by `{option}`" if option else ""
    where = f"'{path}'{checked}: " if path else ""
    msg = f"{where}{reason.rstrip('.')}. {advice}."
    return FileError(msg, path=path, reason=reason, errno=error.errno)


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
