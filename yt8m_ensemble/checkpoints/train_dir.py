"""Which checkpoints a train directory holds, and its `checkpoint` state file. Reads no weights.

The state file is no guide to the newest checkpoint: the starter code's evaluation rewrites it to
point at `inference_model`, and its saver lists only the newest. Numbers in file names tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints.publication import recover_all
from yt8m_ensemble.errors import CheckpointNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE_FILE = "checkpoint"

_INDEX = re.compile(r"model\.ckpt-(\d+)\.index")
_DATA = re.compile(r"model\.ckpt-(\d+)\.data-\d{5}-of-\d{5}")
_STATE_PATH = re.compile(r'^all_model_checkpoint_paths: "((?:[^"\\]|\\.)*)"', re.MULTILINE)
_STEP = re.compile(r"model\.ckpt-(\d+)")


def find_steps(train_dir: str) -> list[int]:
    """Return the steps that `train_dir` holds a `model.ckpt-<step>` of, rising.

    A step counts once it has both an index and a data file; TensorFlow writes the index last.
    """
    recover_all(train_dir)
    names = files.list_dir(train_dir)
    indexed = {int(match[1]) for name in names if (match := _INDEX.fullmatch(name))}
    return sorted(indexed & {int(match[1]) for name in names if (match := _DATA.fullmatch(name))})


def step_prefix(train_dir: str, step: int) -> str:
    """Return the prefix of one step's checkpoint.

    Raises:
        CheckpointNotFoundError: If there is none of that step.
    """
    steps = find_steps(train_dir)
    if step not in steps:
        msg = f"No checkpoint at step {step} in '{train_dir}'. {_describe(steps)}"
        raise CheckpointNotFoundError(msg, step=step, train_dir=train_dir, steps=steps)
    return _prefix(train_dir, step)


def latest_prefix(train_dir: str) -> str:
    """Return the prefix of the highest step, whatever the state file says.

    Raises:
        CheckpointNotFoundError: If there is none at all.
    """
    steps = find_steps(train_dir)
    if not steps:
        msg = f"'{train_dir}' holds no finished `model.ckpt-<step>`. Train with `yt8m-ens train`."
        raise CheckpointNotFoundError(msg, train_dir=train_dir, steps=steps)
    return _prefix(train_dir, steps[-1])


def range_prefixes(train_dir: str, first: int, last: int) -> list[str]:
    """Return the prefixes of the steps from `first` to `last`, both included, rising.

    Raises:
        CheckpointNotFoundError: If there is none between them.
    """
    steps = find_steps(train_dir)
    chosen = [step for step in steps if first <= step <= last]
    if not chosen:
        msg = f"No checkpoint from step {first} to {last} in '{train_dir}'. {_describe(steps)}"
        raise CheckpointNotFoundError(msg, first=first, last=last, train_dir=train_dir, steps=steps)
    return [_prefix(train_dir, step) for step in chosen]


def last_prefixes(train_dir: str, count: int) -> list[str]:
    """Return the prefixes of the newest checkpoints, oldest first.

    The order is that of the `checkpoint` state file when it lists every step that is there. Where
    it lists fewer (the starter code's saver lists only the newest, and its evaluation overwrites
    the file), the step numbers decide.

    Args:
        train_dir: The directory.
        count: How many.

    Raises:
        CheckpointNotFoundError: If there are fewer.
    """
    steps = find_steps(train_dir)
    listed = [step for step in _steps_in_state_file(train_dir) if step in steps]
    if len(steps) < count:
        msg = (
            f"'{train_dir}' holds {len(steps)} checkpoints, {count} are wanted. {_describe(steps)}"
        )
        raise CheckpointNotFoundError(
            msg, train_dir=train_dir, found=len(steps), expected=count, steps=steps
        )
    chosen = listed if len(listed) == len(steps) else steps
    return [_prefix(train_dir, step) for step in chosen[-count:]]


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


def _steps_in_state_file(train_dir: str) -> list[int]:
    path = f"{train_dir.rstrip('/')}/{STATE_FILE}"
    if not files.exists(path):
        return []
    names = [match[1].rpartition("/")[2] for match in _STATE_PATH.finditer(files.read_text(path))]
    return [int(match[1]) for name in names if (match := _STEP.fullmatch(name))]


def _prefix(train_dir: str, step: int) -> str:
    return f"{train_dir.rstrip('/')}/model.ckpt-{step}"


def _describe(steps: Sequence[int]) -> str:
    return f"Steps found: {', '.join(map(str, steps))}." if steps else "It holds no `model.ckpt-*`."
