"""Archives for tests, sound and hostile, built member by member."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

from yt8m_ensemble.packaging import BUNDLE_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CONTENTS = {name: f"content of {name}".encode() for name in BUNDLE_FILES}


def entry(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None):
    """Return a header and its content: that of a bundle's file, unless a size is claimed."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, link
    content = CONTENTS.get(name.rsplit("/", 1)[-1], b"x") if kind == tarfile.REGTYPE else b""
    header.size = len(content) if size is None else size
    return header, content


def sound(prefix: str = "") -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the four files of a bundle."""
    return [entry(prefix + name) for name in BUNDLE_FILES]


def build(
    path: Path, entries: Iterable[tuple[tarfile.TarInfo, bytes]], *, pax: bool = False
) -> str:
    """Write an archive whose headers say whatever they say."""
    data = io.BytesIO()
    for header, content in entries:
        block = header.tobuf(tarfile.PAX_FORMAT) if pax else header.tobuf(tarfile.GNU_FORMAT)
        data.write(block + content + bytes(-len(content) % tarfile.BLOCKSIZE))
    data.write(bytes(2 * tarfile.BLOCKSIZE))
    path.write_bytes(gzip.compress(data.getvalue(), mtime=0))
    return str(path)


def write_model(directory: Path) -> str:
    """Write the four files of a model that nobody could load."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (directory / name).write_bytes(content)
    return str(directory)
