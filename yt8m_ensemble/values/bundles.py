"""What an archive for the official reader holds. Never opens a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BundleMember:
    """One file of an archive.

    Args:
        name: Its name at the root, e.g. `inference_model.meta`.
        nbytes: Its uncompressed size.
        sha256: The digest of its content, in hexadecimal.
    """

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """An archive of one inference model.

    Args:
        path: Where the archive is.
        members: Its four files, in the archive's order; links to them are not listed.
        readers: Years of the official readers that find the files where they look for them.
    """

    path: str
    members: tuple[BundleMember, ...]
    readers: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Uncompressed bytes of all files."""
        return sum(member.nbytes for member in self.members)


READERS = ("2018", "2019", "ours")
"""Whom an archive may be checked for."""


@dataclass(frozen=True)
class Check:
    """Outcome of one named check of an archive.

    Args:
        name: What was checked, e.g. `no queue runners`.
        is_ok: Whether it holds.
        detail: What was found, in a few words.
        readers: Who refuses or misreads an archive where it does not hold: the official readers
            of `2018` and `2019`, or `ours` alone, which promises a tidy graph besides.
    """

    name: str
    is_ok: bool
    detail: str
    readers: tuple[str, ...] = READERS
