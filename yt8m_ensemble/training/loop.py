"""The training loop: batches through the step; checkpoints, scalars and progress beside it."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from yt8m_ensemble.checkpoints import find_steps, open_checkpoint, step_prefix
from yt8m_ensemble.data import (
    estimate_num_records,
    explained_errors,
    fetch_ahead,
    training_dataset,
)
from yt8m_ensemble.errors import DataError, TrainingError, UsageError
from yt8m_ensemble.metrics import (
    global_average_precision,
    hit_at_one,
    precision_at_equal_recall_rate,
)
from yt8m_ensemble.models import model_of_flags
from yt8m_ensemble.models.architecture import INPUT_MEAN
from yt8m_ensemble.models.tower import SCOPE
from yt8m_ensemble.training.cluster import Cluster
from yt8m_ensemble.training.saving import Saver, last_good
from yt8m_ensemble.training.serving import export_saved_model
from yt8m_ensemble.training.statistics import read_statistics
from yt8m_ensemble.training.stopping import StopRequest
from yt8m_ensemble.training.summaries import ScalarWriter
from yt8m_ensemble.training.teacher import Teacher
from yt8m_ensemble.training.trainer import StepResult, Trainer
from yt8m_ensemble.training.validation import Validation, has_stalled
from yt8m_ensemble.values import Checkpoint, ModelFlags, Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yt8m_ensemble.options import TrainingOptions

_CONNECTION_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.InternalError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnknownError,
)


def train(
    train_dir: str,
    paths: Sequence[str],
    *,
    flags: ModelFlags,
    options: TrainingOptions,
    validation_paths: Sequence[str] = (),
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> Checkpoint:
    """Train from the latest checkpoint of a directory, or from the start if it has none.

    A resumed run sees the batches, draws and schedules that an unbroken one would have seen.

    Args:
        train_dir: Where `model.ckpt-<step>`, `checkpoint` and event files go; exists.
        paths: Record files, of all workers.
        flags: The model.
        options: How to train.
        validation_paths: Record files to score at every checkpoint.
        cluster: Who else trains.
        progress: Called after every step, with the examples done since this call began.

    Returns:
        The last checkpoint.

    Raises:
        DataError: If there are no records, or one is bad.
        Interrupted: If a signal came; the step that was being done is saved.
        TrainingError: If the loss is no longer finite, or another worker is lost.
        UsageError: If the workers cannot share the work.
    """
    run = _Run(train_dir, validation_paths, flags, options, cluster or Cluster())
    return run.go(paths, progress)


class _Run:
    """State that the steps of one call share."""

    def __init__(
        self,
        train_dir: str,
        validation_paths: Sequence[str],
        flags: ModelFlags,
        options: TrainingOptions,
        cluster: Cluster,
    ) -> None:
        self._train_dir = train_dir
        self._flags = flags
        self._options = options
        self._cluster = cluster
        self._trainer = Trainer(flags, options, cluster)
        self._check_shares()
        if steps := find_steps(train_dir):
            prefix = step_prefix(train_dir, steps[-1])
            with open_checkpoint(prefix) as source:
                self._trainer.restore(source, path=prefix)
        self._teacher = (
            Teacher(options.teacher, weight=options.teacher_weight, num_classes=flags.num_classes)
            if options.teacher
            else None
        )
        self._saver = Saver(train_dir, flags)
        self._validation = (
            Validation(train_dir, validation_paths, flags, writes=cluster.is_chief)
            if validation_paths
            else None
        )
        self._saved_step, self._saved_at = self._trainer.step, time.monotonic()

    def go(self, paths: Sequence[str], progress: Progress) -> Checkpoint:
        trainer, options = self._trainer, self._options
        done, note, started = 0, "", time.monotonic()
        total = self._num_examples(paths)
        own = self._cluster.share(paths)
        self._use_statistics(paths)
        if self._has_stalled():
            return self._save(last=True)
        records = {"features": self._flags.features, "num_classes": self._flags.num_classes}
        with (
            StopRequest() as stop,
            ScalarWriter(self._train_dir if self._cluster.is_chief else None) as writer,
            explained_errors(own, **records),  # type: ignore[arg-type]
            self._explained_loss_of_workers(),
        ):
            for batch in fetch_ahead(self._dataset(own)):
                result = self._train_on(batch)
                done += len(batch["labels"]) * self._cluster.num_workers
                if trainer.step % options.log_steps == 0:
                    scalars = self._batch_scalars(result, batch)
                    scalars["global_step/Examples/Second"] = done / (time.monotonic() - started)
                    writer.write(trainer.step, scalars)
                    note = _note(trainer.step, scalars)
                progress(f"train {self._flags.model}", done, total, unit="examples", note=note)
                if stop.is_made:
                    saved = self._save(last=False)
                    note = f"Saved '{saved.prefix}'; the same command goes on from it."
                    raise stop.error(note)
                if trainer.step % options.save_steps == 0:
                    self._save(last=False)
                    if self._validation:
                        gap = self._validation.score(trainer)
                        writer.write(trainer.step, {"Epoch/Eval_GAP": gap})
                    if self._has_stalled():
                        break
                elif 0 < 60 * options.save_minutes <= time.monotonic() - self._saved_at:
                    self._save(last=False)
        if not trainer.step:
            msg = f"The {len(own)} record files hold no record. Check `--train-data`."
            raise DataError(msg, paths=tuple(own))
        return self._save(last=True)

    def _num_examples(self, paths: Sequence[str]) -> int | None:
        """Return about how many examples this call trains on; `None` if nothing tells."""
        options, ends = self._options, []
        if options.max_steps:
            ends.append((options.max_steps - self._trainer.step) * options.batch_size)
        if options.num_epochs and self._trainer.num_replicas == 1:
            num_videos = estimate_num_records(paths)
            ends += [num_videos * options.num_epochs] if num_videos else []
        return min(ends, default=None)

    def _use_statistics(self, paths: Sequence[str]) -> None:
        """Set what depends on the records: first biases, the input's mean, the cosine's length."""
        trainer, options, flags = self._trainer, self._options, self._flags
        has_mean = f"{SCOPE}/{INPUT_MEAN}" in trainer.model_variables
        starts = not trainer.step and (has_mean or options.prior_bias)
        is_endless = options.schedule == "cosine" and not options.max_steps
        if not (starts or is_endless):
            return
        found = read_statistics(paths, features=flags.features, num_classes=flags.num_classes)
        if is_endless:
            trainer.num_steps = found.num_videos * options.num_epochs // options.batch_size
        if starts:
            values = {INPUT_MEAN: found.input_mean}
            if options.prior_bias:
                values |= model_of_flags(flags).prior_biases(found.frequencies)
            trainer.assign({f"{SCOPE}/{name}": value for name, value in values.items()})

    def _check_shares(self) -> None:
        replicas, options = self._trainer.num_replicas, self._options
        if options.batch_size % replicas:
            msg = (
                f"`--batch-size {options.batch_size}` cannot be shared by {replicas} devices. "
                f"Use a multiple of {replicas}."
            )
            raise UsageError(msg, batch_size=options.batch_size, num_replicas=replicas)
        if replicas > 1 and not options.max_steps:
            # Shares differ in length, and no worker may stop before the others.
            msg = f"{replicas} devices must stop at the same step. Set `--max-steps`."
            raise UsageError(msg, option="--max-steps", num_replicas=replicas)

    def _dataset(self, paths: Sequence[str]) -> tf.data.Dataset:
        options, first = self._options, self._trainer.step
        alone = self._trainer.num_replicas == 1
        dataset = training_dataset(
            paths,
            features=self._flags.features,
            num_classes=self._flags.num_classes,
            batch_size=options.batch_size // self._cluster.num_workers,
            num_epochs=options.num_epochs or None if alone else None,
            seed=options.seed,
            skip_batches=first,
        )
        return dataset.take(max(options.max_steps - first, 0)) if options.max_steps else dataset

    def _train_on(self, batch: Mapping[str, tf.Tensor]) -> StepResult:
        targets = batch["labels"]
        if self._teacher is not None:
            mixed = self._teacher.targets(batch["video_ids"].numpy(), targets.numpy())
            targets = tf.constant(mixed)
        result = self._trainer.train_on(batch["features"], batch["num_frames"], targets)
        if not math.isfinite(result.loss):
            step = self._trainer.step
            msg = (
                f"The loss became {result.loss} at step {step}. {last_good(self._train_dir)} "
                "Lower `--learning-rate` or `--clip-gradient-norm` and train again."
            )
            raise TrainingError(msg, step=step, loss=result.loss, steps=find_steps(self._train_dir))
        return result

    def _batch_scalars(
        self, result: StepResult, batch: Mapping[str, tf.Tensor]
    ) -> dict[str, float]:
        """Return what the starter code logs of a batch, scored before its update."""
        scores, labels = result.predictions.numpy(), batch["labels"].numpy() > 0
        scalars = {
            "label_loss": result.loss,
            "reg_loss": result.penalty,
            "learning_rate": self._options.learning_rate_at(
                self._trainer.step, self._trainer.num_steps
            ),
        }
        if np.any(labels):
            scalars["model/Training_Hit@1"] = hit_at_one(scores, labels)
            scalars["model/Training_Perr"] = precision_at_equal_recall_rate(scores, labels)
            scalars["model/Training_GAP"] = global_average_precision(scores, labels)
        return scalars

    def _save(self, *, last: bool) -> Checkpoint:
        """Write what is due at this step; the chief writes, the others wait for the next step.

        Returns:
            The step's checkpoint, or on another worker the newest that is there.
        """
        trainer, options = self._trainer, self._options
        if not self._cluster.is_chief:
            return Checkpoint(f"{self._train_dir}/model.ckpt-{trainer.step}", trainer.step, {})
        checkpoint = self._saver.save(trainer)
        if last and options.ema_decay:
            self._saver.save_averages(trainer)
        directory = f"{self._train_dir}/export/step_{trainer.step}"
        every = options.export_steps
        # Checkpoints need not fall on its multiples: one that passed a multiple is exported.
        due = every and (last or trainer.step // every > self._saved_step // every)
        self._saved_step, self._saved_at = trainer.step, time.monotonic()
        if due and not tf.io.gfile.exists(directory):
            export_saved_model(trainer, self._flags, directory)
        return checkpoint

    def _has_stalled(self) -> bool:
        if self._validation is None:
            return False
        scores = self._validation.scores(up_to=self._trainer.step)
        return has_stalled(scores, patience=self._options.early_stop)

    @contextmanager
    def _explained_loss_of_workers(self) -> Iterator[None]:
        """Turn the error of a broken connection into one that says how to go on.

        Yields:
            Nothing.

        Raises:
            TrainingError: If another worker cannot be reached any more.
        """
        try:
            yield
        except _CONNECTION_ERRORS as error:
            if self._cluster.num_workers == 1:
                raise
            step = self._trainer.step
            msg = (
                f"Step {step + 1} could not be finished: of {self._cluster.num_workers} workers at "
                f"least one is gone ({type(error).__name__}). {last_good(self._train_dir)} "
                "Start all workers again to go on from there."
            )
            raise TrainingError(
                msg, step=step, num_workers=self._cluster.num_workers, cause=error.message
            ) from error


def _note(step: int, scalars: Mapping[str, float]) -> str:
    shown = {
        "loss": "label_loss",
        "Hit@1": "model/Training_Hit@1",
        "PERR": "model/Training_Perr",
        "GAP": "model/Training_GAP",
    }
    parts = [f"{name} {scalars[tag]:.3f}" for name, tag in shown.items() if tag in scalars]
    return " ".join([f"step {step}", *parts])
