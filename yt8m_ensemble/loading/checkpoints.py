"""Which checkpoints the options of a command name, and what identifies one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    last_prefixes,
    range_prefixes,
    recover_checkpoint,
    step_prefix,
)
from yt8m_ensemble.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.checkpoints import TfCheckpoint

_TRAIN_PREFIX = "model.ckpt"


def select_checkpoints(
    prefixes: Sequence[str],
    *,
    step_range: tuple[int, int] | None = None,
    checkpoints: Sequence[str | int] | None = None,
    last: int | None = None,
) -> list[str]:
    """Find the checkpoints that options name.

    Args:
        prefixes: Train directories, their `DIR/model.ckpt`, or whole checkpoint prefixes.
        step_range: First and last step to take from each directory, both included.
        checkpoints: Steps to take from each directory, or whole checkpoint prefixes.
        last: How many of the newest to take from each directory.

    Returns:
        Checkpoint prefixes: of each directory in turn, oldest first or as listed.

    Raises:
        CheckpointNotFoundError: If one is not there.
        CheckpointError: If one comes twice.
        UsageError: If none or several ways to choose are given, or none applies.
    """
    for path in prefixes:
        recover_checkpoint(path)
    whole = [path for path in prefixes if files.exists(f"{path}.index")]
    directories = [_train_dir(path) for path in prefixes if path not in whole]
    ways = [way for way in (step_range, checkpoints, last) if way is not None]
    if len(ways) > 1 or (directories and not ways) or not (prefixes or checkpoints):
        msg = (
            "Say which checkpoints to average by one of `--range A,B`, `--checkpoints a,b,c` and "
            "`--last N`, with `--prefix` for the train directory."
        )
        raise UsageError(msg, ways=len(ways))
    steps = [str(item) for item in checkpoints or () if str(item).isdecimal()]
    chosen = whole + [str(item) for item in checkpoints or () if str(item) not in steps]
    if steps and not directories:
        msg = f"Step {steps[0]} is of no train directory. Name it with `--prefix DIR`."
        raise UsageError(msg, steps=steps)
    for directory in directories:
        if step_range is not None:
            chosen += range_prefixes(directory, *step_range)
        elif last is not None:
            chosen += last_prefixes(directory, last)
        chosen += [step_prefix(directory, int(step)) for step in steps]
    _check_distinct(chosen)
    return chosen


def index_digest(prefix: str) -> str:
    """Return the SHA-256 of a checkpoint's index, which holds the checksum of every tensor."""
    return hashlib.sha256(files.read_bytes(f"{prefix.removesuffix('.index')}.index")).hexdigest()


def step_of(source: TfCheckpoint) -> int:
    """Return a number by which a checkpoint is newer than another."""
    match = re.search(r"-(\d+)$", source.prefix)
    step = source.global_step
    return step if step is not None else int(match[1]) if match else -1


def _train_dir(path: str) -> str:
    directory, _, base = path.rstrip("/").rpartition("/")
    return (directory or ".") if base == _TRAIN_PREFIX else path


def _check_distinct(prefixes: Sequence[str]) -> None:
    """Refuse a checkpoint that comes twice, under whatever spelling.

    Raises:
        CheckpointError: If one does.
    """
    seen: dict[str, str] = {}
    for prefix in prefixes:
        place = prefix if files.is_remote(prefix) else str(Path(prefix).resolve())
        if place in seen:
            msg = f"'{prefix}' is given twice. Name it once; `--weights` can count it more."
            raise CheckpointError(msg, prefix=prefix)
        seen[place] = prefix
