"""Temporary names of outputs: `.NAME.part-HOST-PROCESS-…` beside NAME, until it is whole.

The name tells which process writes there, so that what a killed one left can be removed by the
next. Never removes what a living process, or one of another machine, may be writing.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from glob import escape
from pathlib import Path

from yt8m_ensemble.companions import companions_of, hidden_name

_HOST = re.sub(r"[^A-Za-z0-9.]", "_", platform.node())[:64]
_MARK = re.compile(rf"\.part-{re.escape(_HOST)}-(?P<process>\d+)-[0-9a-f]+")


def make_part(path: str) -> Path:
    """Return an unused temporary name beside a local path; missing directories are made.

    What killed processes of this machine left of the same target is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(target.parent, start=hidden_name(target, "part-").name)
    return hidden_name(target, new_mark().removeprefix("."))


def new_mark() -> str:
    """Return what a temporary name of this process ends with, another each time."""
    return f".part-{_HOST}-{os.getpid()}-{os.urandom(3).hex()}"


def remove_stale_parts(directory: Path, *, start: str = ".") -> None:
    """Remove what killed processes of this machine left in a directory under temporary names.

    Args:
        directory: A local one.
        start: What the names begin with.
    """
    for entry in directory.glob(f"{escape(start)}*"):
        if is_stale(entry.name):
            discard(entry)


def is_stale(name: str) -> bool:
    """Return whether a name is a temporary one whose process, of this machine, has ended."""
    found = _MARK.search(name)
    return bool(found and not _is_alive(int(found["process"])))


def final_name(path: str) -> str:
    """Return a path with the name that a local temporary one stands for."""
    return re.sub(rf"\.([^/]+){_MARK.pattern}", r"\1", path)


def remove_part(part: Path) -> None:
    """Remove a temporary output with what describes it, as far as they are there."""
    for path in (part, *companions_of(part)):
        discard(path)


def discard(path: Path) -> None:
    """Remove a local file, or a directory with all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # the latter: no number that a process has
        return False
    except OSError:
        return True  # of another user
    return True
