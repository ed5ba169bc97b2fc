"""npz and parquet files of others as arrays by name. Never unpickles; knows no meaning of a name.

Whatever is damaged in them is one error with the file's name.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import DataError, EnsembleError, MissingDependencyError
from yt8m_ensemble.files import open_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PARQUET_ROWS = 256
_LOCAL_HEADER_BYTES, _NAME_LENGTH_AT, _DESCRIPTOR_BYTES = 30, 26, 24  # of the zip format
_DAMAGES = (
    *(OSError, EOFError, ValueError, KeyError, NotImplementedError, IndexError, RuntimeError),
    *(tokenize.TokenError, SyntaxError, MemoryError, OverflowError, TypeError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)
"""What numpy and pyarrow raise on damaged files."""


@contextmanager
def explain_damage(
    path: str, *, kind: str, more: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what a damaged file makes numpy, pyarrow and zip raise into one error.

    Args:
        path: The file.
        kind: Its kind, for the message.
        more: Exceptions of other readers that mean the same.

    Yields:
        Nothing.

    Raises:
        DataError: If any of these is raised; carries `path`.
        EnsembleError: As it was raised.
    """
    try:
        yield
    except EnsembleError:
        raise
    except Exception as error:
        if not isinstance(error, (*_DAMAGES, *more)):
            raise
        msg = f"'{path}' is no whole {kind} file: {error}. Fetch or write it again."
        raise DataError(msg, path=path) from error


def read_npz(path: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file.

    Args:
        path: The file, local or of TensorFlow's file layer.

    Returns:
        Arrays by name; none holds Python objects.

    Raises:
        TypeError: If a member is no array.
    """
    with explain_damage(path, kind=".npz"):
        with open_binary(path) as file:
            with zipfile.ZipFile(file) as archive:
                _check_directory(archive)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                held = {name: arrays[name] for name in arrays.files}
        for name, array in held.items():
            if not isinstance(array, np.ndarray):  # numpy hands out what it does not know as bytes
                msg = f"its member '{name}' is no array"
                raise TypeError(msg)
    return held


def _check_directory(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose directory does not list all that lies in it.

    Raises:
        ValueError: If there are bytes that belong to no listed member.
    """
    file: Any = archive.fp
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if not 0 <= info.header_offset - end <= _DESCRIPTOR_BYTES:
            break
        file.seek(info.header_offset + _NAME_LENGTH_AT)
        lengths = struct.unpack("<HH", file.read(4))  # of the name and the extra field
        end = info.header_offset + _LOCAL_HEADER_BYTES + sum(lengths) + info.compress_size
    else:
        if 0 <= archive.start_dir - end <= _DESCRIPTOR_BYTES:
            return
    msg = f"its directory lists {len(archive.infolist())} members, but there are bytes of others"
    raise ValueError(msg)


def encode_ids(ids: NDArray[Any] | None) -> NDArray[np.bytes_] | None:
    """Return text ids as UTF-8 bytes; `None` if they are no text."""
    if ids is None or ids.dtype.kind not in "SU" or ids.ndim != 1:
        return None
    return np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids


def read_parquet(path: str) -> Iterator[dict[str, Any]]:
    """Yield the columns of a parquet table, a few hundred rows at a time.

    Args:
        path: The file, local or of TensorFlow's file layer.

    Yields:
        pyarrow's arrays by name.

    Raises:
        MissingDependencyError: If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        msg = "Reading parquet needs pyarrow. Install it with `pip install yt8m-ensemble[parquet]`."
        raise MissingDependencyError(msg, package="pyarrow") from error
    with explain_damage(path, kind=".parquet"), open_binary(path) as file:
        for batch in pq.ParquetFile(file).iter_batches(_PARQUET_ROWS):
            yield dict(zip(batch.schema.names, batch.columns, strict=True))


def parquet_ids(column: Any, *, path: str, name: str) -> list[bytes]:
    """Return a column of video ids as bytes.

    Raises:
        DataError: If one is no text.
    """
    found = []
    with explain_damage(path, kind=".parquet"):  # of text that is not UTF-8
        ids = column.to_pylist()
    for video_id in ids:
        if not isinstance(video_id, (str, bytes)):
            msg = f"Column `{name}` of '{path}' holds {video_id!r}, expected text. Name each video."
            raise DataError(msg, path=path, found=video_id)
        found.append(video_id.encode() if isinstance(video_id, str) else video_id)
    return found
