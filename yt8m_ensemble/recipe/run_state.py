"""What a recipe remembers: of every step, the digest of what went in and of what came out.

A step is done when both still hold. Digests of large files are kept by size and time of change, so
that asking again costs nothing. Never runs a step.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yt8m_ensemble import files
from yt8m_ensemble.recipe.document import describe
from yt8m_ensemble.reporting.stored import (
    FORMAT,
    RUN_FILE,
    RunRecord,
    StepRecord,
    StepResult,
    read_record,
    record_path,
)
from yt8m_ensemble.storage import predictions_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RunState:
    """The steps of a run, remembered in `<out>/.steps/`.

    Args:
        out: The recipe's directory.
    """

    def __init__(self, out: str) -> None:
        self._directory = f"{out.rstrip('/')}/.steps"
        self._out = out
        path = f"{self._directory}/digests.json"
        self._known = read_record(path, dict[str, tuple[int, int, str]], default={})

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
        self._write(step, StepRecord(FORMAT, key))

    def finish(
        self, step: str, key: str, outputs: Iterable[str], *, elapsed_s: float, result: StepResult
    ) -> None:
        """Note that a step is done."""
        digests = {path: self._digest(path) for path in outputs}
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(step, StepRecord(FORMAT, key, digests, elapsed_s, finished, result))

    def note_run(self, record: RunRecord) -> None:
        """Note what is being run."""
        files.write_text(record_path(self._out, RUN_FILE), _format(record), force=True)

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

    def _read(self, step: str) -> StepRecord:
        return read_record(record_path(self._out, step), StepRecord, default=StepRecord())

    def _write(self, step: str, record: StepRecord) -> None:
        # The record last: a step that it calls done needs nothing more to be written.
        files.write_text(f"{self._directory}/digests.json", json.dumps(self._known), force=True)
        files.write_text(record_path(self._out, step), _format(record), force=True)


def _format(record: StepRecord | RunRecord) -> str:
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode()
