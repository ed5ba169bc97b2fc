"""Which checkpoints the options of a command name, and what identifies one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    CHECKPOINT_NAME,
    TfCheckpoint,
    find_steps,
    last_prefixes,
    range_prefixes,
    recover_checkpoint,
    refuse_first_format,
    step_prefix,
)
from yt8m_ensemble.errors import CheckpointError, UsageError
from yt8m_ensemble.loading.formats import detect_format, is_weights_file, saved_model_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.values import TensorSource


_MOST = 20  # checkpoints among which an average is chosen


def select_checkpoints(
    prefixes: Sequence[str],
    *,
    step_range: tuple[int, int] | None = None,
    checkpoints: Sequence[str | int] | None = None,
    last: int | Literal["auto"] | None = None,
) -> list[str]:
    """Find the checkpoints that options name.

    Args:
        prefixes: Train directories, their `DIR/model.ckpt`, or whole checkpoint prefixes.
        step_range: First and last step to take from each directory, both included.
        checkpoints: Steps to take from each directory, or whole checkpoint prefixes.
        last: How many of the newest to take from each directory; `auto` for up to 20.

    Returns:
        Checkpoint prefixes: of each directory in turn, oldest first or as listed.

    Raises:
        CheckpointNotFoundError: If one is not there.
        CheckpointError: If one comes twice.
        UsageError: If none or several ways to choose are given, or none applies.
    """
    for path in prefixes:
        recover_checkpoint(path)
    prefixes = [_own_weights(path) for path in prefixes]
    whole = [path for path in prefixes if is_weights_file(path) or files.exists(f"{path}.index")]
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
    for directory, name in directories:
        if step_range is not None:
            chosen += range_prefixes(directory, *step_range, name)
        elif last is not None:
            count = _MOST if last == "auto" else last
            chosen += last_prefixes(directory, count, name, at_most=last == "auto")
        chosen += [step_prefix(directory, int(step), name) for step in steps]
    _check_distinct(chosen)
    return chosen


def weights_digest(path: str) -> str:
    """Return the SHA-256 of a file of weights, or of a checkpoint's index."""
    return files.sha256(path) if is_weights_file(path) else index_digest(path)


def index_digest(prefix: str) -> str:
    """Return the SHA-256 of a checkpoint's index, which holds the checksum of every tensor."""
    return hashlib.sha256(files.read_bytes(f"{prefix.removesuffix('.index')}.index")).hexdigest()


def step_of(path: str, source: TensorSource) -> int:
    """Return a number by which a file of weights is newer than another.

    Args:
        path: The checkpoint's prefix, or the file.
        source: Its tensors.
    """
    match = re.search(r"-(\d+)(\.weights\.h5|\.h5|\.keras|\.safetensors)?$", path)
    step = global_step_of(source)
    return step if step is not None else int(match[1]) if match else -1


def saved_step(source: TensorSource) -> int | None:
    """Return a checkpoint's training step, by its content or its name; `None` if neither."""
    step = step_of(source.prefix, source) if isinstance(source, TfCheckpoint) else -1
    return step if step >= 0 else None


def global_step_of(source: TensorSource) -> int | None:
    """Return the training step of weights; `None` if they hold none."""
    return source.global_step if isinstance(source, TfCheckpoint) else None


def _own_weights(path: str) -> str:
    """Return the checkpoint of a SavedModel, and any other path as it is.

    Raises:
        CheckpointError: If it is of a format that holds nothing to average.
    """
    if files.exists(f"{path}.index") or is_weights_file(path):
        return path
    kind = detect_format(path)
    if kind == "frozen graph":
        msg = (
            f"The weights of '{path}' are constants of its graph, which are not averaged. Average "
            "the checkpoints that it was frozen from."
        )
        raise CheckpointError(msg, path=path)
    if kind == "saved model":
        return f"{saved_model_dir(path)}/variables/variables"
    refuse_first_format(path)
    return path


def _train_dir(path: str) -> tuple[str, str | None]:
    """Return a directory, and what its checkpoints are called if the path tells.

    `DIR/NAME` and `DIR/NAME-` stand for all `DIR/NAME-<step>`.
    """
    directory, _, base = path.rstrip("/").rpartition("/")
    name = base.removesuffix("-")
    if not files.is_dir(path) and (name == CHECKPOINT_NAME or find_steps(directory or ".", name)):
        return directory or ".", name
    return path, None


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
