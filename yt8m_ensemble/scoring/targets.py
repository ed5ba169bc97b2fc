"""Which models and checkpoints `eval` is to evaluate, and which of them appear while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import find_steps, latest_prefix, step_prefix
from yt8m_ensemble.constants import INFERENCE_MODEL
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.loading.formats import detect_format
from yt8m_ensemble.loading.model import default_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True)
class Target:
    """One model or checkpoint to evaluate.

    Args:
        model: The path given by the user.
        path: The path to open: `DIR@STEP` for one of several checkpoints.
        prefix: Its checkpoint; `None` if `model` is not known to be a train directory.
    """

    model: str
    path: str
    prefix: str | None = None

    @property
    def name(self) -> str:
        """A name made from the model's path."""
        return default_name(self.model)


@dataclass(frozen=True)
class Watch:
    """How to wait for checkpoints.

    Args:
        poll_s: Seconds between two looks.
        idle_s: Stop after so many seconds without a new checkpoint; `None` waits for ever.
        clock: Tells the time in seconds.
        sleep: Waits for so many seconds.
    """

    poll_s: float = 30.0
    idle_s: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


def find_targets(
    models: Sequence[str],
    *,
    checkpoints: Sequence[str] | None,
    all_checkpoints: bool,
    watch: Watch | None,
) -> Iterator[Target]:
    """Return what to evaluate; everything that is known now is checked before the first.

    Args:
        models: Paths given by the user.
        checkpoints: Steps of the only model.
        all_checkpoints: Take every checkpoint rather than the latest.
        watch: How to wait for more; `None` ends after those that are there.

    Returns:
        The targets; with `watch` looking for the next waits.

    Raises:
        UsageError: If options contradict each other, or need a train directory and get none.
        CheckpointNotFoundError: If a step or any checkpoint is not there and not waited for.
    """
    _check_options(models, checkpoints=checkpoints, all_checkpoints=all_checkpoints, watch=watch)
    if checkpoints:
        known = [_at_step(models[0], int(step)) for step in checkpoints]
    elif all_checkpoints or watch:
        known = [
            target
            for model in models
            for target in _in_directory(model, everything=all_checkpoints, may_wait=bool(watch))
        ]
    else:
        known = [
            Target(model, model, latest_prefix(model) if _is_train_dir(model) else None)
            for model in models
        ]
    return _then_watch(known, models, watch) if watch else iter(known)


def _check_options(
    models: Sequence[str],
    *,
    checkpoints: Sequence[str] | None,
    all_checkpoints: bool,
    watch: Watch | None,
) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: If they do not.
    """
    if checkpoints and (all_checkpoints or len(models) > 1):
        msg = "`--checkpoint` lists steps of one train directory; give one `--model` and no other."
        raise UsageError(msg, checkpoints=tuple(checkpoints), models=tuple(models))
    if checkpoints and not all(step.isdecimal() for step in checkpoints):
        msg = f"'{','.join(checkpoints)}' are not steps. Write e.g. `--checkpoint 7000,8000`."
        raise UsageError(msg, checkpoints=tuple(checkpoints))
    if checkpoints or all_checkpoints or watch:
        for model in models:
            if not _is_train_dir(model):
                msg = (
                    f"'{model}' is no train directory, so there are no other checkpoints to look "
                    "for. Leave `--checkpoint`, `--all-checkpoints` and `--watch` out."
                )
                raise UsageError(msg, model=model)


def _is_train_dir(model: str) -> bool:
    if not files.is_dir(model) or detect_format(model) != "checkpoint":
        return False
    exported = f"{model.rstrip('/')}/{INFERENCE_MODEL}"
    is_exported = any(files.exists(f"{exported}{suffix}") for suffix in (".index", ".meta"))
    return not is_exported or bool(find_steps(model))


def _at_step(model: str, step: int) -> Target:
    return Target(model, f"{model}@{step}", step_prefix(model, step))


def _in_directory(model: str, *, everything: bool, may_wait: bool) -> list[Target]:
    steps = find_steps(model)
    if not steps and not may_wait:
        latest_prefix(model)  # says that there is none
    return [_at_step(model, step) for step in (steps if everything else steps[-1:])]


def _then_watch(known: Sequence[Target], models: Sequence[str], watch: Watch) -> Iterator[Target]:
    # Older checkpoints than those asked for are not new ones.
    seen = {(model, step) for model in models for step in find_steps(model)}
    yield from known
    last = watch.clock()
    while True:
        new = [(m, step) for m in models for step in find_steps(m) if (m, step) not in seen]
        for model, step in new:
            yield _at_step(model, step)
        seen.update(new)
        now = watch.clock()
        if new:
            last = now
            continue
        left = None if watch.idle_s is None else watch.idle_s - (now - last)
        if left is not None and left <= 0:
            return
        watch.sleep(watch.poll_s if left is None else min(watch.poll_s, left))
