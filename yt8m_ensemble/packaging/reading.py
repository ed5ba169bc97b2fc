"""Read archives that anybody may have made: refuse hostile ones, unpack the others.

The tar headers are walked here rather than by `tarfile`, so that nothing in an archive (a long
name, an extended header, a sparse map) can make the reader allocate, follow or write what it
names: every file goes to one of four fixed names, or the archive is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from yt8m_ensemble import files
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL, MAX_FLAGS_BYTES
from yt8m_ensemble.errors import BundleError
from yt8m_ensemble.packaging.layouts import (
    BUNDLE_FILES,
    IGNORED_FILE,
    MODEL_FILES,
    SAVED_MODEL_FILES,
    readers_of,
    size_text,
)
from yt8m_ensemble.values import Bundle, BundleMember

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_UNPACKED_BYTES: Final = 4_000_000_000
"""Uncompressed bytes after which an archive is refused: twice what a graph file may hold."""

MAX_EXPANSION: Final = 100
"""Unpacked bytes for each byte of an archive; weights hardly compress, zeros a thousandfold."""

MIN_UNPACKED_BYTES: Final = 64_000_000
"""Unpacked bytes that are allowed however small the archive is."""

_KNOWN: Final = {FLAGS_FILE, *MODEL_FILES, *(f"{INFERENCE_MODEL}/{name}" for name in MODEL_FILES)}
_IGNORED: Final = {IGNORED_FILE, f"{INFERENCE_MODEL}/{IGNORED_FILE}"}
_BLOCK: Final = 1 << 20
_MAX_EXTENDED_HEADER: Final = 1 << 16
# What an extended header may not say: another name, size or kind than the plain header does.
_OVERRIDES: Final = (b"path=", b"size=", b"GNU.sparse.")
_ALLOWED_TYPES: Final = (
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
)
_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "a long name",
    tarfile.GNUTYPE_LONGLINK: "a long link name",
}


def list_bundle(path: str, *, max_unpacked: int = MAX_UNPACKED_BYTES) -> Bundle:
    """Check an archive from end to end and describe what it holds; writes nothing.

    Accepts the layouts of 2018 (files at the root), of 2019 (under `inference_model/`) and both
    at once, with or without `./` before the names.

    Args:
        path: The archive.
        max_unpacked: Uncompressed bytes after which it is refused.

    Returns:
        Its files with sizes and digests, and the official readers that load it.

    Raises:
        BundleError: If there is no such file, it is no gzip-compressed tar archive, it holds
            anything but the files of an inference model, or a file of the model is missing.
    """
    files.recover_output(path)
    members: dict[str, BundleMember] = {}
    names: set[str] = set()
    for entry in _walk(path, max_unpacked):
        names.add(entry.name)
        if entry.content is None:
            continue
        digest = hashlib.sha256()
        for block in entry.content:
            digest.update(block)
        base = entry.name.removeprefix(f"{INFERENCE_MODEL}/")
        member = BundleMember(base, entry.nbytes, digest.hexdigest())
        if members.setdefault(base, member) != member:
            msg = (
                f"'{path}' holds two different files '{base}', so the official readers would load "
                "different models. Package the model again."
            )
            raise BundleError(msg, path=path, member=base)
    missing = [name for name in BUNDLE_FILES if name not in members]
    if missing:
        msg = (
            f"'{path}' holds no {', '.join(missing)}. An archive holds {', '.join(BUNDLE_FILES)}; "
            "`yt8m-ens package` makes one."
        )
        raise BundleError(msg, path=path, missing=missing)
    return Bundle(path, tuple(members[name] for name in BUNDLE_FILES), readers_of(names))


def describe_saved_model(path: str) -> Bundle:
    """Describe the files of a SavedModel that `package` wrote.

    Args:
        path: Its directory.

    Returns:
        Its files with sizes and digests; no official reader of the challenge takes it.

    Raises:
        BundleError: If one is missing.
    """
    missing = [name for name in SAVED_MODEL_FILES if not files.exists(f"{path}/{name}")]
    if missing:
        msg = (
            f"'{path}' holds no {', '.join(missing)}. `yt8m-ens package --format savedmodel` "
            "writes a SavedModel with them."
        )
        raise BundleError(msg, path=path, missing=missing)
    places = {name: f"{path}/{name}" for name in SAVED_MODEL_FILES}
    members = (
        BundleMember(name, files.size(place), files.sha256(place)) for name, place in places.items()
    )
    return Bundle(path, tuple(members), ())


def extract_bundle(path: str, directory: str, *, max_unpacked: int = MAX_UNPACKED_BYTES) -> Bundle:
    """Unpack an archive into a directory, once `list_bundle` has checked all of it.

    Args:
        path: The archive.
        directory: Where the four files go, at the root whatever the archive's layout; it must not
            exist or be empty.
        max_unpacked: Uncompressed bytes after which the archive is refused.

    Returns:
        What the archive holds.
    """
    bundle = list_bundle(path, max_unpacked=max_unpacked)
    with files.atomic_directory(directory) as temporary:
        for entry in _walk(path, max_unpacked):
            if entry.content is not None:
                target = Path(temporary, entry.name.removeprefix(f"{INFERENCE_MODEL}/"))
                with target.open("wb") as file:
                    file.writelines(entry.content)
    return bundle


@dataclass(frozen=True)
class _Entry:
    """One known file of an archive; `content` is `None` for a link to an earlier one."""

    name: str
    nbytes: int
    content: Iterator[bytes] | None


class _Stream:
    """Read exact numbers of decompressed bytes, up to a limit."""

    def __init__(self, path: str, file: gzip.GzipFile, limit: int) -> None:
        self._path, self._file, self._left, self._limit = path, file, limit, limit

    def expect(self, size: int) -> None:
        """Refuse to go on if `size` more bytes would pass the limit.

        Raises:
            BundleError: If they would.
        """
        if size > self._left:
            msg = (
                f"'{self._path}' would unpack to more than {size_text(self._limit)}, which no "
                "bundle of its size needs. Do not use this archive."
            )
            raise BundleError(msg, path=self._path, limit=self._limit)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            BundleError: If the archive ends before, is damaged, or passes the limit.
        """
        self.expect(size)
        data = self._next(size)
        if len(data) < size:
            msg = f"'{self._path}' ends in the middle of a file. Copy or make the archive again."
            raise BundleError(msg, path=self._path)
        return data

    def drain(self) -> None:
        """Read to the end, behind which gzip keeps the checksum of all before it."""
        while self._next(_BLOCK):
            self.expect(0)

    def _next(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            msg = f"'{self._path}' is not a whole gzip-compressed tar archive: {error}."
            raise BundleError(msg, path=self._path) from error
        self._left -= len(data)
        return data


def _walk(path: str, limit: int) -> Iterator[_Entry]:
    """Yield the known files of an archive in its order.

    Raises:
        BundleError: At the first thing that has no place in a bundle.
    """
    if not files.exists(path) or files.is_dir(path):
        msg = f"There is no archive '{path}'. Make one with `yt8m-ens package`."
        raise BundleError(msg, path=path)
    files.check_regular(path)
    limit = min(limit, max(MIN_UNPACKED_BYTES, MAX_EXPANSION * files.size(path)))
    with files.open_binary(path) as compressed, gzip.GzipFile(fileobj=compressed) as file:
        stream = _Stream(path, file, limit)
        seen: dict[str, bool] = {}
        while (header := _read_header(path, stream)) is not None:
            name = _check_name(path, header.name)
            if name in seen:
                _refuse(path, header.name, "appears twice")
            if header.isdir():
                if name not in ("", INFERENCE_MODEL):
                    _refuse(path, header.name, "is an unknown directory")
            elif name not in _KNOWN | _IGNORED:
                _refuse(path, header.name, "is an unknown file")
            elif header.type == tarfile.LNKTYPE:
                target = _check_name(path, header.linkname)
                if not seen.get(target) or Path(target).name != Path(name).name:
                    _refuse(path, header.name, f"is a hard link to {header.linkname!r}")
                yield _Entry(name, 0, None)
            else:
                if Path(name).name == FLAGS_FILE and header.size > MAX_FLAGS_BYTES:
                    _refuse(path, header.name, f"has {header.size:,} bytes")
                content = _content(stream, header.size)
                if name in _KNOWN:
                    yield _Entry(name, header.size, content)
                # Whatever the caller left unread stands before the next header.
                for _ in content:
                    pass
            seen[name] = header.isreg() and name in _KNOWN
        stream.drain()


def _read_header(path: str, stream: _Stream) -> tarfile.TarInfo | None:
    """Return the next header that stands for a file, a directory or a hard link; `None` at the end.

    Raises:
        BundleError: If it is of another kind, or an extended header changes what it says.
    """
    while True:
        try:
            block = stream.read(tarfile.BLOCKSIZE)
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # absent from the stubs
            return None
        except tarfile.HeaderError as error:
            msg = f"'{path}' is no tar archive: {error}. `yt8m-ens package` makes one."
            raise BundleError(msg, path=path) from error
        if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            if not 0 <= header.size <= _MAX_EXTENDED_HEADER:
                _refuse(path, header.name, f"is an extended header of {header.size:,} bytes")
            text = b"".join(_content(stream, header.size))
            if any(key in text for key in _OVERRIDES):
                _refuse(path, header.name, "is an extended header that renames or resizes a file")
            continue
        if header.type not in _ALLOWED_TYPES:
            kind = _KINDS.get(header.type, f"of the unknown kind {header.type!r}")
            _refuse(path, header.name, f"is {kind}")
        if header.size < 0:
            _refuse(path, header.name, f"has a size of {header.size} bytes")
        return header


def _content(stream: _Stream, size: int) -> Iterator[bytes]:
    """Yield a file's bytes in blocks and step over the padding behind them."""
    stream.expect(size)
    padding = -size % tarfile.BLOCKSIZE
    while size:
        block = stream.read(min(size, _BLOCK))
        size -= len(block)
        yield block
    stream.read(padding)


def _check_name(path: str, name: str) -> str:
    """Return the name without a leading `./`; refuse one that leads out of the directory."""
    if name.startswith("/"):
        _refuse(path, name, "has an absolute path")
    if ".." in name.split("/"):
        _refuse(path, name, "leads to a parent directory")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _refuse(path: str, name: str, fault: str) -> NoReturn:
    msg = (
        f"'{path}' is refused: its member {name!r} {fault}. "
        f"A bundle holds only {', '.join(BUNDLE_FILES)}, at the root or under '{INFERENCE_MODEL}/'."
    )
    raise BundleError(msg, path=path, member=name, fault=fault)
