"""The state of a training run and the compiled step that changes it.

Never reads a record or a file: batches come in, arrays go out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.models import Declaration, declare_variables, model_of_flags
from yt8m_ensemble.training.losses import LOSSES
from yt8m_ensemble.training.optimizers import OPTIMIZERS
from yt8m_ensemble.training.tower import TrainingTower

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.training.options import TrainOptions
    from yt8m_ensemble.values import ModelFlags, TensorSource

GLOBAL_STEP = "global_step"


@dataclass(frozen=True)
class StepResult:
    """Hold what one step saw, before its update.

    Args:
        loss: Label loss, the mean over the batch.
        penalty: Sum of the L2 terms, not yet weighted.
        predictions: Shape `(B, C)`, float32 tensor.
        labels: Shape `(B, C)`, float32 tensor.
    """

    loss: float
    penalty: float
    predictions: tf.Tensor
    labels: tf.Tensor


class Trainer:
    """Own the variables and slots of one model and apply steps to them.

    Args:
        flags: The model.
        options: How to train it.
    """

    def __init__(self, flags: ModelFlags, options: TrainOptions) -> None:
        self.step = 0
        self._flags = flags
        self._options = options
        self._model = model_of_flags(flags)
        self._loss = LOSSES[options.loss]
        self._optimizer = OPTIMIZERS[options.optimizer]
        self._counters = self._optimizer.first_counters()
        declared = declare_variables(self._model, flags.features, flags.num_classes)
        self._variables = {
            name: tf.Variable(_first_value(item, options.seed), trainable=item.trainable)
            for name, item in declared.items()
        }
        self._slots = {
            f"{name}/{suffix}": tf.Variable(tf.fill(item.shape, value), trainable=False)
            for name, item in declared.items()
            if item.trainable
            for suffix, value in self._optimizer.slots
        }
        self._compiled = tf.function(self._traced_step, reduce_retracing=True)

    def train_on(self, batch: Mapping[str, tf.Tensor]) -> StepResult:
        """Apply one step.

        Args:
            batch: `features`, `num_frames` and `labels` as `data.training_dataset` yields them.

        Returns:
            The losses and predictions before the update.
        """
        scalars = {
            "rate": tf.constant(self._options.learning_rate_at(self.step), tf.float32),
            "decay": tf.constant(self._options.batch_norm_decay_at(self.step), tf.float32),
            "step": tf.constant(self.step, tf.int32),
        }
        counters = {name: tf.constant(value) for name, value in self._counters.items()}
        loss, penalty, predictions = self._compiled(
            batch["features"], batch["num_frames"], batch["labels"], scalars, counters
        )
        self.step += 1
        self._counters = self._optimizer.next_counters(self._counters)
        return StepResult(float(loss), float(penalty), predictions, batch["labels"])

    def _traced_step(
        self,
        features: tf.Tensor,
        num_frames: tf.Tensor,
        labels: tf.Tensor,
        scalars: Mapping[str, tf.Tensor],
        counters: Mapping[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        options, flags = self._options, self._flags
        tower = TrainingTower(
            self._variables, seed=options.seed, step=scalars["step"], decay=scalars["decay"]
        )
        trained = {name: v for name, v in self._variables.items() if v.trainable}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(trained.values()))
            predictions = self._model(
                features, num_frames, tower, features=flags.features, num_classes=flags.num_classes
            )
            loss = self._loss(predictions, labels)
            penalty = tower.penalty
            total = loss + options.regularization_penalty * penalty
        gradients = tape.gradient(total, trained)
        for name, variable in trained.items():
            gradient = clip_by_norm(gradients[name], options.clip_gradient_norm)
            slots = [self._slots[f"{name}/{suffix}"] for suffix, _ in self._optimizer.slots]
            self._optimizer.apply(variable, slots, gradient, scalars["rate"], counters=counters)
        return loss, penalty, predictions

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that a checkpoint holds, by the starter code's names."""
        arrays = {name: v.numpy() for name, v in {**self._variables, **self._slots}.items()}
        return {**arrays, **self._counters, GLOBAL_STEP: np.int32(self.step)}

    def restore(self, source: TensorSource, *, path: str) -> None:
        """Take over the state of a checkpoint.

        Args:
            source: The checkpoint.
            path: Its prefix, for messages.

        Raises:
            CheckpointError: If a tensor is missing or of another shape.
        """
        specs = source.specs()
        wanted = {name: tuple(v.shape) for name, v in {**self._variables, **self._slots}.items()}
        wanted |= dict.fromkeys((*self._counters, GLOBAL_STEP), ())
        for name, shape in wanted.items():
            found = specs[name].shape if name in specs else None
            if found != shape:
                state = f"has shape {found}" if found is not None else "is missing"
                msg = (
                    f"Cannot resume: '{name}' {state} in '{path}', expected {shape}. "
                    "Train with the options of that run, or pass `--start-new-model`."
                )
                raise CheckpointError(msg, name=name, found=found, expected=shape, path=path)
        for name, variable in {**self._variables, **self._slots}.items():
            variable.assign(source.read(name))
        self._counters = {name: np.float32(source.read(name)) for name in self._counters}
        self.step = int(source.read(GLOBAL_STEP))


def clip_by_norm(gradient: tf.Tensor, limit: float) -> tf.Tensor:
    """Return a gradient scaled to an L2 norm of at most `limit`; 0 leaves it as it is."""
    if not limit:
        return gradient
    return gradient * (limit / tf.maximum(tf.norm(gradient), limit))


def _first_value(declaration: Declaration, seed: int) -> NDArray[np.floating]:
    """Return draws from the seed and the name, so that no order of creation matters."""
    rng = np.random.default_rng([seed, zlib.crc32(declaration.name.encode())])
    return declaration.initializer(rng, declaration.shape)
