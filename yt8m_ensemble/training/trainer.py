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
from yt8m_ensemble.training.cluster import Cluster
from yt8m_ensemble.training.decay import warm_decay
from yt8m_ensemble.training.losses import LOSSES, smooth_labels
from yt8m_ensemble.training.optimizers import Now, make_optimizer
from yt8m_ensemble.training.tower import TrainingTower, VariableTower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.options import TrainingOptions
    from yt8m_ensemble.values import ModelFlags, TensorSource

GLOBAL_STEP = "global_step"
EMA_SUFFIX = "ExponentialMovingAverage"


@dataclass(frozen=True)
class StepResult:
    """Loss and predictions of one step, before its update.

    Args:
        loss: Label loss, the mean over all workers' videos.
        penalty: Sum of the L2 terms, not yet weighted.
        predictions: This process's scores, shape `(B, C)`, float32 tensor.
    """

    loss: float
    penalty: float
    predictions: tf.Tensor


class Trainer:
    """Own the variables and slots of one model and apply steps to them.

    Args:
        flags: The model.
        options: How to train it.
        cluster: Who else trains it.
    """

    def __init__(
        self, flags: ModelFlags, options: TrainingOptions, cluster: Cluster | None = None
    ) -> None:
        self.step = 0
        self._flags = flags
        self._options = options
        self._model = model_of_flags(flags)
        self._loss = LOSSES[options.loss]
        self._optimizer = make_optimizer(options)
        self.num_steps = options.max_steps
        self._counters = self._optimizer.first_counters()
        cluster = cluster or Cluster()
        self._strategy = cluster.strategy
        self._num_local = self.num_replicas // cluster.num_workers
        declared = declare_variables(self._model, flags.features, flags.num_classes)
        first = {name: _first_value(item, options.seed) for name, item in declared.items()}
        self._trained = [name for name, item in declared.items() if item.trainable]
        self._averaged = self._trained if options.ema_decay else []
        with self._strategy.scope():
            self._variables = {
                name: tf.Variable(value, trainable=declared[name].trainable)
                for name, value in first.items()
            }
            self._slots = {
                f"{name}/{suffix}": tf.Variable(
                    tf.fill(declared[name].shape, start), trainable=False
                )
                for name in self._trained
                for suffix, start in self._optimizer.slots
            }
            self._averages = {
                f"{name}/{EMA_SUFFIX}": tf.Variable(first[name], trainable=False)
                for name in self._averaged
            }
        self._compiled = tf.function(self._distributed_step, autograph=False, reduce_retracing=True)
        self._compiled_predict = tf.function(self.predict, autograph=False, reduce_retracing=True)

    def assign(self, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Set variables of the model before the first step; averages start from there too.

        Args:
            values: By checkpoint name; names that the model lacks are left out.
        """
        for name, value in values.items():
            if name in self._variables:
                self._variables[name].assign(value)
            if f"{name}/{EMA_SUFFIX}" in self._averages:
                self._averages[f"{name}/{EMA_SUFFIX}"].assign(value)

    @property
    def num_replicas(self) -> int:
        """Devices that train, over all processes."""
        return int(self._strategy.num_replicas_in_sync)

    @property
    def model_variables(self) -> Mapping[str, Any]:
        """The model's `tf.Variable`s by checkpoint name."""
        return self._variables

    def train_on(
        self, features: tf.Tensor, num_frames: tf.Tensor, targets: tf.Tensor
    ) -> StepResult:
        """Apply one step.

        Args:
            features: Shape `(B, F)` or `(B, T, F)`, as `Architecture.__call__` takes them; this
                process's videos.
            num_frames: Shape `(B,)`, int32.
            targets: Shape `(B, C)`, float32, from 0 to 1.

        Returns:
            The losses and predictions before the update.
        """
        options, step = self._options, self.step
        scalars = {
            "rate": options.learning_rate_at(step, self.num_steps),
            "weight_decay": options.weight_decay,
            "batch_norm_decay": warm_decay(options.batch_norm_decay, step),
            "ema_decay": warm_decay(options.ema_decay, step),
            **self._counters,
        }
        loss, penalty, predictions = self._compiled(
            (features, num_frames, targets),
            tf.constant(step, tf.int32),
            {name: tf.constant(value, tf.float32) for name, value in scalars.items()},
        )
        self.step += 1
        self._counters = self._optimizer.next_counters(self._counters)
        return StepResult(float(loss), float(penalty), predictions)

    def predict(self, features: tf.Tensor, num_frames: tf.Tensor) -> tf.Tensor:
        """Return scores `(B, C)` of the current weights, as an inference graph would."""
        return self._model(
            features,
            num_frames,
            VariableTower(self._variables),
            features=self._flags.features,
            num_classes=self._flags.num_classes,
        )

    def scores(
        self, features: NDArray[np.float32], num_frames: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Return `predict` of arrays as an array."""
        scores: NDArray[np.float32] = self._compiled_predict(
            tf.constant(features), tf.constant(num_frames)
        ).numpy()
        return scores

    def _distributed_step(
        self, batch: Sequence[tf.Tensor], step: tf.Tensor, scalars: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return what the local devices make of their parts of the batch, joined."""
        local = self._num_local
        if local == 1:
            only: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = self._strategy.run(
                self._replica_step, (batch, step, scalars)
            )
            return only
        parts = [tf.split(part, local) for part in batch]
        values = self._strategy.experimental_distribute_values_from_function(
            lambda context: tuple(part[context.replica_id_in_sync_group % local] for part in parts)
        )
        results = self._strategy.run(self._replica_step, (values, step, scalars))
        loss, penalty, predictions = map(self._strategy.experimental_local_results, results)
        return loss[0], penalty[0], tf.concat(predictions, 0)

    def _replica_step(
        self, batch: Sequence[tf.Tensor], step: tf.Tensor, scalars: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return one device's losses and scores, its copy of the variables moved as all others."""
        features, num_frames, targets = batch
        options, flags = self._options, self._flags
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        tower = TrainingTower(
            self._variables,
            seed=options.seed * 1009 + replica * 100_003,
            step=step,
            precision=options.precision,
            mixup=options.mixup,
            input_dropout=options.input_dropout,
        )
        trained = [self._variables[name] for name in self._trained]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            predictions = self._model(
                features, num_frames, tower, features=flags.features, num_classes=flags.num_classes
            )
            wanted = smooth_labels(tower.mixed(targets), options.label_smoothing)
            loss = self._loss(predictions, wanted)
            penalty = tower.penalty
            total = loss + options.regularization_penalty * penalty
        gradients = tape.gradient(total, trained)
        values = list(tower.averages.values())
        if self.num_replicas > 1:
            loss, gradients, values = context.all_reduce(
                tf.distribute.ReduceOp.MEAN, (loss, gradients, values)
            )
        now = Now(scalars["rate"], scalars["weight_decay"], scalars)
        for name, gradient in zip(self._trained, gradients, strict=True):
            slots = [self._slots[f"{name}/{suffix}"] for suffix, _ in self._optimizer.slots]
            clipped = clip_by_norm(gradient, options.clip_gradient_norm)
            self._optimizer.apply(self._variables[name], slots, clipped, now)
        for name, value in zip(tower.averages, values, strict=True):
            _move(self._variables[name], value, scalars["batch_norm_decay"])
        for name in self._averaged:
            value = self._variables[name].read_value()
            _move(self._averages[f"{name}/{EMA_SUFFIX}"], value, scalars["ema_decay"])
        return loss, penalty, predictions

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that a checkpoint holds, by the starter code's names."""
        arrays: dict[str, NDArray[Any]] = {
            name: variable.numpy() for name, variable in self._all_variables().items()
        }
        counters = {name: np.asarray(value) for name, value in self._counters.items()}
        return {**arrays, **counters, GLOBAL_STEP: np.asarray(self.step, np.int32)}

    def averaged_state(self) -> dict[str, NDArray[Any]]:
        """Return a checkpoint of the averaged weights under the names of the weights."""
        arrays = {name: variable.numpy() for name, variable in self._variables.items()}
        for name in self._averaged:
            arrays[name] = self._averages[f"{name}/{EMA_SUFFIX}"].numpy()
        return {**arrays, GLOBAL_STEP: np.asarray(self.step, np.int32)}

    def restore(self, source: TensorSource, *, path: str) -> None:
        """Take over the state of a checkpoint.

        Args:
            source: The checkpoint.
            path: Its prefix, for messages.

        Raises:
            CheckpointError: If a tensor is missing or of another shape.
        """
        specs = source.specs()
        wanted = {name: tuple(v.shape) for name, v in self._all_variables().items()}
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
        for name, variable in self._all_variables().items():
            variable.assign(source.read(name))
        self._counters = {name: np.float32(source.read(name)) for name in self._counters}
        self.step = int(source.read(GLOBAL_STEP))

    def _all_variables(self) -> dict[str, Any]:
        return {**self._variables, **self._slots, **self._averages}


def clip_by_norm(gradient: tf.Tensor, limit: float) -> tf.Tensor:
    """Return a gradient scaled to an L2 norm of at most `limit`; 0 leaves it as it is."""
    if not limit:
        return gradient
    return gradient * (limit / tf.maximum(tf.norm(gradient), limit))


def _move(average: Any, value: tf.Tensor, decay: tf.Tensor) -> None:
    """Move this device's copy of an average; all devices are given the same value."""
    change = (1 - decay) * (average.read_value() - value)
    tf.raw_ops.AssignSubVariableOp(resource=average.handle, value=change)


def _first_value(declaration: Declaration, seed: int) -> NDArray[np.floating]:
    """Return draws from the seed and the name, so that no order of creation matters."""
    rng = np.random.default_rng([seed, zlib.crc32(declaration.name.encode())])
    return declaration.initializer(rng, declaration.shape)
