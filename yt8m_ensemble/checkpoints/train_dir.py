"""Which checkpoints a train directory holds, and its `checkpoint` state file. Reads no weights.

The state file is no guide to the newest checkpoint: the starter code's evaluation rewrites it to
point at `inference_model`, and its saver lists only the newest. Numbers in file names tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.publication import recover_all
from yt8m_ensemble.errors import CheckpointError, CheckpointNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE_FILE = "checkpoint"

CHECKPOINT_NAME = "model.ckpt"
"""What the starter code calls its checkpoints, before the step."""

_SHOWN: Final = 5
_INDEX = re.compile(r"(?P<name>.+)-(?P<step>\d+)\.index")
_DATA = re.compile(r"(?P<name>.+)-(?P<step>\d+)\.data-\d{5}-of-\d{5}")
_STATE_PATH = re.compile(r'^all_model_checkpoint_paths: "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_STEP = re.compile(r"(?P<name>.+)-(?P<step>\d+)")


def find_steps(train_dir: str, name: str = CHECKPOINT_NAME) -> list[int]:
    """Return the steps that `train_dir` holds a `NAME-<step>` of, rising.

    A step counts once it has both an index and a data file; TensorFlow writes the index last.

    Args:
        train_dir: The directory.
        name: What its checkpoints are called.
    """
    return _steps_by_name(train_dir).get(name, [])


def checkpoint_name(train_dir: str) -> str:
    """Return what the checkpoints of a directory are called: `model.ckpt`, or the only other name.

    Raises:
        CheckpointError: If there are several others.
    """
    found = sorted(_steps_by_name(train_dir))
    if CHECKPOINT_NAME in found or not found:
        return CHECKPOINT_NAME
    if len(found) > 1:
        first = f"{train_dir.rstrip('/')}/{found[0]}"
        msg = (
            f"'{train_dir}' holds checkpoints called {', '.join(found)}. Name one, as with "
            f"`yt8m-ens avg-ckpt --prefix {first}`, or a step of it, as '{first}-<step>'."
        )
        raise CheckpointError(msg, train_dir=train_dir, names=found)
    return found[0]


def _steps_by_name(train_dir: str) -> dict[str, list[int]]:
    recover_all(train_dir)
    names = files.list_dir(train_dir)
    whole = {(m["name"], int(m["step"])) for name in names if (m := _DATA.fullmatch(name))}
    found: dict[str, list[int]] = {}
    for name in names:
        if (m := _INDEX.fullmatch(name)) and (m["name"], int(m["step"])) in whole:
            found.setdefault(m["name"], []).append(int(m["step"]))
    return {name: sorted(set(steps)) for name, steps in found.items()}


def step_prefix(train_dir: str, step: int, name: str | None = None) -> str:
    """Return the prefix of one step's checkpoint.

    Raises:
        CheckpointNotFoundError: If there is none of that step.
    """
    name = name or checkpoint_name(train_dir)
    steps = find_steps(train_dir, name)
    if step not in steps:
        msg = f"No checkpoint at step {step} in '{train_dir}'. {_describe(steps, name)}"
        raise CheckpointNotFoundError(msg, step=step, train_dir=train_dir, steps=steps)
    return _prefix(train_dir, step, name)


def latest_prefix(train_dir: str, name: str | None = None) -> str:
    """Return the prefix of the highest step, whatever the state file says.

    Raises:
        CheckpointNotFoundError: If there is none at all.
    """
    name = name or checkpoint_name(train_dir)
    steps = find_steps(train_dir, name)
    if not steps:
        there = sorted(files.list_dir(train_dir))
        listed = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
        msg = (
            f"'{train_dir}' holds no finished checkpoint `NAME-<step>`, no inference model and no "
            f"SavedModel, but {listed or 'nothing'}. Give the directory or the file that is one."
        )
        raise CheckpointNotFoundError(msg, train_dir=train_dir, steps=steps)
    return _prefix(train_dir, steps[-1], name)


def range_prefixes(train_dir: str, first: int, last: int, name: str | None = None) -> list[str]:
    """Return the prefixes of the steps from `first` to `last`, both included, rising.

    Raises:
        CheckpointNotFoundError: If there is none between them.
    """
    name = name or checkpoint_name(train_dir)
    steps = find_steps(train_dir, name)
    chosen = [step for step in steps if first <= step <= last]
    if not chosen:
        msg = (
            f"No checkpoint from step {first} to {last} in '{train_dir}'. {_describe(steps, name)}"
        )
        raise CheckpointNotFoundError(msg, first=first, last=last, train_dir=train_dir, steps=steps)
    return [_prefix(train_dir, step, name) for step in chosen]


def last_prefixes(
    train_dir: str, count: int, name: str | None = None, *, at_most: bool = False
) -> list[str]:
    """Return the prefixes of the newest checkpoints, oldest first.

    The order is that of the `checkpoint` state file when it lists every step that is there. Where
    it lists fewer (the starter code's saver lists only the newest, and its evaluation overwrites
    the file), the step numbers decide.

    Args:
        train_dir: The directory.
        count: How many.
        name: What its checkpoints are called, where there are several names.
        at_most: Whether fewer will do, though not none.

    Raises:
        CheckpointNotFoundError: If there are fewer.
    """
    name = name or checkpoint_name(train_dir)
    steps = find_steps(train_dir, name)
    listed = [step for step in _steps_in_state_file(train_dir, name) if step in steps]
    if len(steps) < (1 if at_most else count):
        msg = (
            f"'{train_dir}' holds {len(steps)} checkpoints, {count} are wanted. "
            f"{_describe(steps, name)}"
        )
        raise CheckpointNotFoundError(
            msg, train_dir=train_dir, found=len(steps), expected=count, steps=steps
        )
    chosen = listed if len(listed) == len(steps) else steps
    return [_prefix(train_dir, step, name) for step in chosen[-count:]]


def write_state_file(train_dir: str, prefixes: Sequence[str]) -> None:
    """Write the `checkpoint` file that TensorFlow's tools look at; for training, never averages.

    Args:
        train_dir: The directory.
        prefixes: Kept checkpoints, oldest first; paths inside `train_dir` are written relative.
    """
    names = [prefix.removeprefix(f"{train_dir.rstrip('/')}/") for prefix in prefixes]
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    lines = [f'model_checkpoint_path: "{quoted[-1]}"'] if quoted else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in quoted]
    files.write_text(f"{train_dir.rstrip('/')}/{STATE_FILE}", "\n".join([*lines, ""]), force=True)


def _steps_in_state_file(train_dir: str, name: str) -> list[int]:
    path = f"{train_dir.rstrip('/')}/{STATE_FILE}"
    if not files.exists(path):
        return []
    listed = [match[1].rpartition("/")[2] for match in _STATE_PATH.finditer(files.read_text(path))]
    found = [match for text in listed if (match := _STEP.fullmatch(text))]
    return [int(match["step"]) for match in found if match["name"] == name]


def _prefix(train_dir: str, step: int, name: str) -> str:
    return f"{train_dir.rstrip('/')}/{name}-{step}"


def _describe(steps: Sequence[int], name: str) -> str:
    return f"Steps found: {', '.join(map(str, steps))}." if steps else f"It holds no `{name}-*`."
