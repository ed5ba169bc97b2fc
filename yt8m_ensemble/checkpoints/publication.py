"""Let the files of a checkpoint appear together, whatever instant their writer dies at.

A file system renames one file at a time. So the new files wait in a directory `.NAME.new`, and from
the one rename that makes it on they are the checkpoint: whoever opens NAME next moves what was not
moved yet. Before that rename the old files stand untouched. Reads no tensors.
"""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.companions import PROVENANCE_ENDING
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.locks import lock, lock_path

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPANIONS = (".meta", PROVENANCE_ENDING)
"""Files beside index and data that may come with a checkpoint."""

_MANIFEST = "new-files.json"
_LEFT = re.compile(r"\.(?P<name>.+)\.new|\.(?P<locked>.+-\d+)\.lock")
"""What a killed writer may leave: the directory, or of a step of training also the lock alone."""

_LOG = logging.getLogger(__name__)


def publish(part: Path, prefix: str, *, force: bool, stale: Iterable[str]) -> None:
    """Make the files in a directory the checkpoint of a local prefix; the directory is used up.

    Args:
        part: Whole files under their final names, in a directory beside them.
        prefix: The checkpoint.
        force: Replace an existing one.
        stale: Endings of files that describe the replaced one, and go with it.

    Raises:
        OutputExistsError: If there is one, or data that lost its index, and `force` is not set.
    """
    names = sorted(entry.name for entry in part.iterdir())
    target = Path(prefix)
    with lock(prefix, wait=True):
        if (_waiting(target) / _MANIFEST).exists():
            _finish(target)
        files.check_absent(f"{prefix}.index", force=force)
        for name in _data_of(target):
            files.check_absent(str(target.with_name(name)), force=force)
        old = [*_data_of(target), *(f"{target.name}{ending}" for ending in stale)] if force else []
        manifest = {"new": names, "old": [name for name in old if name not in names]}
        (part / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        for entry in part.iterdir():
            files.fsync(str(entry))
        files.fsync(str(part))
        part.rename(_waiting(target))
        files.fsync(str(target.parent))
        _finish(target)


def recover_checkpoint(prefix: str) -> None:
    """Finish the replacement of a checkpoint that its writer was killed in; say so in the log.

    Args:
        prefix: Path without `.index`; nothing is done unless a replacement was interrupted there.

    Raises:
        CheckpointError: If files have to be moved and may not be.
    """
    target = Path(prefix)
    if files.is_remote(prefix):
        return
    if not (_waiting(target) / _MANIFEST).exists():
        _tidy(target)
        return
    try:
        with lock(prefix, wait=True):  # its writer may be alive
            if (_waiting(target) / _MANIFEST).exists():
                _finish(target)
                _LOG.warning("Finished the interrupted replacement of '%s'.", prefix)
    except OSError as error:
        msg = (
            f"'{prefix}' was being replaced when the writer was stopped: {error.strerror}. "
            f"Open it once where '{target.parent}' can be written to."
        )
        raise CheckpointError(msg, prefix=prefix, reason=error.strerror) from error


def recover_all(directory: str) -> None:
    """Finish every replacement of a checkpoint that was interrupted in a directory."""
    if files.is_remote(directory):
        return
    for name in files.list_dir(directory):
        if match := _LEFT.fullmatch(name):
            left = os.path.join(directory, match["name"] or match["locked"])  # noqa: PTH118 - keeps "./"
            recover_checkpoint(left)


def _tidy(target: Path) -> None:
    """Remove the empty directory and the lock of a writer that was killed when all was in place."""
    if not (_waiting(target).exists() or lock_path(target).exists()):
        return
    # It may be in use, not to be written to, or not ours.
    with suppress(OSError), lock(str(target), wait=False):
        _waiting(target).rmdir()


def _waiting(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


def _data_of(target: Path) -> list[str]:
    """Return the names of a checkpoint's data files that are there."""
    data = re.compile(rf"{re.escape(target.name)}\.data-\d{{5}}-of-\d{{5}}")
    return sorted(entry.name for entry in target.parent.iterdir() if data.fullmatch(entry.name))


def _finish(target: Path) -> None:
    """Move what waits into place; can be cut short and done again at any instant."""
    waiting = _waiting(target)
    manifest: dict[str, list[str]] = json.loads((waiting / _MANIFEST).read_text(encoding="utf-8"))
    names, index = manifest["new"], f"{target.name}.index"
    if (waiting / index).exists():
        # Other programs know no manifest: without an index they find no checkpoint for a moment,
        # with the old one they would read the new data by it.
        target.with_name(index).unlink(missing_ok=True)
    for name in manifest["old"]:
        target.with_name(name).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == index):
        if (waiting / name).exists():
            (waiting / name).replace(target.with_name(name))
    files.fsync(str(target.parent))
    (waiting / _MANIFEST).unlink()
    waiting.rmdir()
