"""Files that describe an output, `OUT.provenance.json` and `OUT.card.md`: they change with it.

A file system renames one file at a time. So what describes a new output waits beside it under a
hidden name that holds the output's time of change. From the instant at which the output has its
name on, what waits for that time is what describes it; whoever opens the output next moves what was
not moved yet. Makes no output and reads none.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from glob import escape
from typing import TYPE_CHECKING, Final

from yt8m_ensemble.locks import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROVENANCE_ENDING: Final = ".provenance.json"
CARD_ENDING: Final = ".card.md"
ENDINGS: Final = (PROVENANCE_ENDING, CARD_ENDING)

_MAX_NAME_BYTES = 128  # of the 255 that a name may have; what is put around it needs the rest


def hidden_name(target: Path, kind: str) -> Path:
    """Return a hidden name beside a path, that fits however long the path's own name is."""
    name = target.name
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return target.with_name(f".{name}.{kind}")


def companions_of(path: Path) -> list[Path]:
    """Return the files that describe an output, as far as they are there."""
    found = [_companion(path, ending) for ending in ENDINGS]
    return [file for file in found if os.path.exists(file)]  # noqa: PTH110 - may be too long a name


@contextmanager
def described(part: Path, target: Path, *, sync: Callable[[str], None]) -> Iterator[None]:
    """Let what describes an output change in the step in which the block renames the output.

    Args:
        part: The output under a temporary name, whole and not to be changed; its companions are
            used up.
        target: The output's name. A companion of it that the part has not is removed.
        sync: Makes sure that a file or a directory has reached the disk.

    Yields:
        Nothing.
    """
    new = companions_of(part)
    if not new and not companions_of(target):
        yield
        return
    with lock(str(_waiting(target)), wait=True):
        for companion in new:
            sync(str(companion))
        _announce(part, target)
        sync(str(target.parent))
        try:
            yield
            sync(str(target.parent))
        finally:
            _settle(target)


def recover_companions(target: Path) -> bool:
    """Finish what a killed writer left; a living one is waited for.

    Args:
        target: The output's name.

    Returns:
        Whether something waited for the output that is there.
    """
    if not _list_waiting(target):
        return False
    with lock(str(_waiting(target)), wait=True):
        return _settle(target)


def _announce(part: Path, target: Path) -> None:
    """Move what describes a part to where it waits; an empty file stands for none."""
    stamp = part.stat().st_mtime_ns
    for ending in ENDINGS:
        waiting = _waiting(target, f"{stamp}{ending}")
        if _companion(part, ending).exists():
            _companion(part, ending).replace(waiting)
        elif _companion(target, ending).exists():
            waiting.touch()


def _settle(target: Path) -> bool:
    """Move what waits into place, or remove what waited for an output that never came.

    Can be cut short and done again at any instant.

    Returns:
        Whether something waited for the output that is there.
    """
    stamp = str(target.stat().st_mtime_ns) if target.exists() else ""
    is_moved = False
    for waiting in _list_waiting(target):
        awaited, _, ending = waiting.name.removeprefix(_waiting(target).name).partition(".")
        if awaited == stamp:
            is_moved = True
            if waiting.stat().st_size:
                waiting.replace(_companion(target, f".{ending}"))
                continue
            _companion(target, f".{ending}").unlink(missing_ok=True)
        waiting.unlink()
    return is_moved


def _companion(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


def _waiting(target: Path, rest: str = "") -> Path:
    return hidden_name(target, f"waiting-{rest}")


def _list_waiting(target: Path) -> list[Path]:
    return sorted(target.parent.glob(f"{escape(_waiting(target).name)}*.*"))
