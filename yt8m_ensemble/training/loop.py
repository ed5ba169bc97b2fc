"""The training loop: batches through the step, checkpoints, scalars and progress beside it."""

from __future__ import annotations

import math
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import (
    find_steps,
    open_checkpoint,
    step_prefix,
    write_checkpoint,
    write_state_file,
)
from yt8m_ensemble.data import explained_errors, training_dataset
from yt8m_ensemble.errors import DataError, TrainingError
from yt8m_ensemble.graphs import write_meta_graph
from yt8m_ensemble.metrics import (
    global_average_precision,
    hit_at_one,
    precision_at_equal_recall_rate,
)
from yt8m_ensemble.models import build_graph
from yt8m_ensemble.training.summaries import ScalarWriter
from yt8m_ensemble.training.trainer import StepResult, Trainer
from yt8m_ensemble.values import Checkpoint, ModelFlags, Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.training.options import TrainOptions


def train(
    train_dir: str,
    paths: Sequence[str],
    *,
    flags: ModelFlags,
    options: TrainOptions,
    progress: Progress = no_progress,
) -> Checkpoint:
    """Train from the latest checkpoint of a directory, or from the start if it has none.

    Args:
        train_dir: Where `model.ckpt-<step>`, `checkpoint` and event files go; exists.
        paths: Record files.
        flags: The model.
        options: How to train.
        progress: Called after every step, with the examples done since this call began.

    Returns:
        The last checkpoint.

    Raises:
        DataError: If there are no records, or one is bad.
        TrainingError: If the loss is no longer finite; the last good checkpoint is named.
    """
    trainer = Trainer(flags, options)
    if steps := find_steps(train_dir):
        prefix = step_prefix(train_dir, steps[-1])
        with open_checkpoint(prefix) as source:
            trainer.restore(source, path=prefix)
    first = trainer.step
    saver = _Saver(train_dir, flags)
    dataset = training_dataset(
        paths,
        features=flags.features,
        num_classes=flags.num_classes,
        batch_size=options.batch_size,
        num_epochs=options.num_epochs or None,
        seed=options.seed,
        skip_batches=first,
    )
    if options.max_steps is not None:
        dataset = dataset.take(max(options.max_steps - first, 0))
    total = (options.max_steps - first) * options.batch_size if options.max_steps else None
    done, note, started = 0, "", time.monotonic()
    with (
        ScalarWriter(train_dir) as writer,
        explained_errors(paths, features=flags.features, num_classes=flags.num_classes),
    ):
        for batch in dataset:
            result = trainer.train_on(batch)
            if not math.isfinite(result.loss):
                msg = _describe_divergence(train_dir, trainer.step, result.loss)
                raise TrainingError(
                    msg, step=trainer.step, loss=result.loss, steps=find_steps(train_dir)
                )
            done += len(result.labels)
            if trainer.step % options.log_steps == 0:
                scalars = _batch_scalars(result)
                scalars["GlobalStep/Train_Example_Second"] = done / (time.monotonic() - started)
                scalars["learning_rate"] = options.learning_rate_at(trainer.step)
                writer.write(trainer.step, scalars)
                note = _note(trainer.step, scalars)
            progress(f"train {flags.model}", done, total, unit="examples", note=note)
            if trainer.step % options.save_steps == 0:
                saver.save(trainer)
                writer.flush()
    if not trainer.step:
        msg = f"The {len(paths)} record files hold no record. Check `--train-data`."
        raise DataError(msg, paths=tuple(paths))
    return saver.save(trainer)


class _Saver:
    """Write checkpoints with their meta graph, and the state file that lists them."""

    def __init__(self, train_dir: str, flags: ModelFlags) -> None:
        self._train_dir = train_dir
        self._graph = build_graph(flags)
        self._first_meta: str | None = None

    def save(self, trainer: Trainer) -> Checkpoint:
        """Return the checkpoint of the step, saved now unless it was before."""
        prefix = f"{self._train_dir.rstrip('/')}/model.ckpt-{trainer.step}"
        if trainer.step not in find_steps(self._train_dir):
            # The index comes last: a step counts as soon as it is there.
            self._write_meta(f"{prefix}.meta")
            write_checkpoint(prefix, trainer.state())
            steps = find_steps(self._train_dir)
            write_state_file(self._train_dir, [step_prefix(self._train_dir, s) for s in steps])
        with open_checkpoint(prefix) as source:
            return source.checkpoint

    def _write_meta(self, path: str) -> None:
        with files.atomic_file(path, force=True) as temporary:
            if self._first_meta is None:
                write_meta_graph(self._graph, temporary)
            else:
                shutil.copyfile(self._first_meta, temporary)
        self._first_meta = path


def _batch_scalars(result: StepResult) -> dict[str, float]:
    """Return what the starter code logs of a batch, scored before its update."""
    scores = result.predictions.numpy()
    labels = result.labels.numpy() > 0
    if not np.any(labels):
        return {"GlobalStep/Train_Loss": result.loss}
    return {
        "GlobalStep/Train_Hit@1": hit_at_one(scores, labels),
        "GlobalStep/Train_Perr": precision_at_equal_recall_rate(scores, labels),
        "GlobalStep/Train_GAP": global_average_precision(scores, labels),
        "GlobalStep/Train_Loss": result.loss,
        "label_loss": result.loss,
        "reg_loss": result.penalty,
    }


def _note(step: int, scalars: dict[str, float]) -> str:
    shown = {
        "loss": "GlobalStep/Train_Loss",
        "Hit@1": "GlobalStep/Train_Hit@1",
        "PERR": "GlobalStep/Train_Perr",
        "GAP": "GlobalStep/Train_GAP",
    }
    parts = [f"{name} {scalars[tag]:.3f}" for name, tag in shown.items() if tag in scalars]
    return " ".join([f"step {step}", *parts])


def _describe_divergence(train_dir: str, step: int, loss: float) -> str:
    steps = find_steps(train_dir)
    last = f"The last good checkpoint is '{train_dir}@{steps[-1]}'" if steps else "None was saved"
    return (
        f"The loss became {loss} at step {step}. {last}. "
        "Lower `--learning-rate` or `--clip-gradient-norm` and train again."
    )
