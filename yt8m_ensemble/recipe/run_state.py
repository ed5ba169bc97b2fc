"""What a recipe remembers: of every step, the digest of what went in and of what came out.

A step is done when both still hold. Digests of large files are kept by size and time of change, so
that asking again costs nothing. Never runs a step.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from yt8m_ensemble import files
from yt8m_ensemble.decoding import decode_json
from yt8m_ensemble.errors import RecipeError
from yt8m_ensemble.recipe.document import describe
from yt8m_ensemble.storage import predictions_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


class _Record(msgspec.Struct, frozen=True):
    """What is kept of a step: the digest of what went in, and of every file that came out."""

    key: str = ""
    outputs: dict[str, str] | None = None


class RunState:
    """The steps of a run, remembered in `<out>/.steps/`.

    Args:
        out: The recipe's directory.
    """

    def __init__(self, out: str) -> None:
        self._directory = f"{out.rstrip('/')}/.steps"
        path = f"{self._directory}/digests.json"
        self._known = _read(path, dict[str, tuple[int, int, str]], default={})

    def key(self, options: Mapping[str, Any], inputs: Iterable[str]) -> str:
        """Return the digest of a step's options and of the content of its input files."""
        content = {path: self._digest(path) for path in inputs}
        return hashlib.sha256(describe([options, content]).encode()).hexdigest()

    def is_done(self, step: str, key: str) -> bool:
        """Return whether the step ran with this key and its outputs are as it left them."""
        record = self._read(step)
        return (
            record.key == key
            and record.outputs is not None
            and all(self._is_as_left(p, d) for p, d in record.outputs.items())
        )

    def _is_as_left(self, path: str, digest: str) -> bool:
        return files.exists(path) and not files.is_dir(path) and self._digest(path) == digest

    def is_started(self, step: str, key: str) -> bool:
        """Return whether the step began with this key; it may have been interrupted."""
        return self._read(step).key == key

    def has_run(self, step: str) -> bool:
        """Return whether the step ever began."""
        return bool(self._read(step).key)

    def start(self, step: str, key: str) -> None:
        """Note that a step begins."""
        self._write(step, {"key": key})

    def finish(self, step: str, key: str, outputs: Iterable[str]) -> None:
        """Note that a step is done."""
        self._write(step, {"key": key, "outputs": {path: self._digest(path) for path in outputs}})

    def _digest(self, path: str) -> str:
        if files.is_remote(path):
            return files.sha256(path)
        stat = Path(path).stat()
        stamp = stat.st_size, stat.st_mtime_ns
        known = self._known.get(path)
        if known is None or known[:2] != stamp:
            digest = predictions_digest if path.endswith(".h5") else files.sha256
            known = self._known[path] = (*stamp, digest(path))
        return str(known[2])

    def _path(self, step: str) -> str:
        return f"{self._directory}/{step.replace('/', '.')}.json"

    def _read(self, step: str) -> _Record:
        return _read(self._path(step), _Record, default=_Record())

    def _write(self, step: str, record: Mapping[str, Any]) -> None:
        files.write_text(self._path(step), json.dumps(record, indent=2), force=True)
        files.write_text(f"{self._directory}/digests.json", json.dumps(self._known), force=True)


def _read(path: str, kind: type[T], *, default: T) -> T:
    if not files.exists(path):
        return default
    advice = "Remove the file: the step it belongs to then runs again."
    return decode_json(files.read_bytes(path), kind, path=path, error=RecipeError, advice=advice)
