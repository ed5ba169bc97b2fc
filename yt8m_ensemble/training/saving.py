"""What a training run leaves behind: checkpoints, their meta graph, the state file, averages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    CheckpointWriter,
    find_steps,
    open_checkpoint,
    step_prefix,
    write_checkpoint,
    write_state_file,
)
from yt8m_ensemble.errors import TrainingError
from yt8m_ensemble.graphs import write_meta_graph
from yt8m_ensemble.models import build_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.training.trainer import Trainer
    from yt8m_ensemble.values import Checkpoint, ModelFlags


class Saver:
    """Write checkpoints of one run.

    Args:
        train_dir: Where they go.
        flags: The model, for its meta graph.
    """

    def __init__(self, train_dir: str, flags: ModelFlags) -> None:
        self._train_dir = train_dir.rstrip("/")
        self._graph = build_graph(flags)
        self._first_meta: str | None = None

    def save(self, trainer: Trainer) -> Checkpoint:
        """Return the checkpoint of the step, written now unless it was before."""
        prefix = f"{self._train_dir}/model.ckpt-{trainer.step}"
        if trainer.step not in find_steps(self._train_dir):
            state = trainer.state()
            check_finite(state, train_dir=self._train_dir)
            with CheckpointWriter(prefix, force=True) as writer:
                for name in sorted(state):
                    writer.add(name, state[name])
                self._write_meta(writer.companion(".meta"))
            self._first_meta = f"{prefix}.meta"
        # Also of a checkpoint that was there: its writer may have been killed before this file.
        steps = find_steps(self._train_dir)
        write_state_file(self._train_dir, [step_prefix(self._train_dir, s) for s in steps])
        with open_checkpoint(prefix) as source:
            return source.checkpoint

    def save_averages(self, trainer: Trainer) -> None:
        """Write `ema.ckpt-<step>`: the averaged weights as a checkpoint of their own."""
        prefix = f"{self._train_dir}/ema.ckpt-{trainer.step}"
        write_checkpoint(prefix, trainer.averaged_state(), force=True)

    def _write_meta(self, path: str) -> None:
        if self._first_meta is None:
            write_meta_graph(self._graph, path)
        else:
            files.copy(self._first_meta, path)


def check_finite(arrays: Mapping[str, NDArray[Any]], *, train_dir: str) -> None:
    """Refuse to save weights that a bad step has ruined while its loss was still finite.

    Raises:
        TrainingError: If a value is infinite or not a number; names the last good checkpoint.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            msg = (
                f"'{name}' holds values that are not finite. {last_good(train_dir)} "
                "Lower `--learning-rate` or `--clip-gradient-norm` and train again."
            )
            raise TrainingError(msg, name=name, steps=find_steps(train_dir))


def last_good(train_dir: str) -> str:
    """Return a sentence that names the newest checkpoint."""
    steps = find_steps(train_dir)
    if not steps:
        return "No checkpoint was saved before."
    return f"The last good checkpoint is '{train_dir.rstrip('/')}@{steps[-1]}'."
