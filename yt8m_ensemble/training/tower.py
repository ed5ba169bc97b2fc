"""The tower of a training step: `tf.Variable`s, stateless draws, moving averages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from yt8m_ensemble.models import Declaration, Tower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class TrainingTower(Tower):
    """Answer an architecture while one step is traced; make a new one for every trace.

    Args:
        variables: Model variables by checkpoint name.
        seed: Seed of the draws.
        step: The step, int32 scalar tensor; equal steps draw equal numbers.
        decay: Decay of the moving averages, float32 scalar tensor.
    """

    def __init__(
        self, variables: Mapping[str, Any], *, seed: int, step: tf.Tensor, decay: tf.Tensor
    ) -> None:
        super().__init__(training=True)
        self._variables = variables
        self._seed = seed
        self._step = step
        self._decay = decay
        self._draws = 0
        self._penalties: dict[str, tf.Tensor] = {}

    @property
    def penalty(self) -> tf.Tensor:
        """Sum of the L2 terms of the variables used so far, a float32 scalar."""
        return tf.add_n([*self._penalties.values(), tf.constant(0.0)])

    def average(self, name: str, value: tf.Tensor) -> None:
        """Assign `decay * average + (1 - decay) * value`."""
        average = self._variables[f"{self._scope}/{name}"]
        average.assign_sub((1 - self._decay) * (average - value))

    def uniform(self, shape: Sequence[Any]) -> tf.Tensor:
        """Draw from the seed, the step and the number of draws before this one.

        Returns:
            Float32 in `[0, 1)`.
        """
        self._draws += 1
        seed = tf.stack([tf.constant(self._seed * 1009 + self._draws), self._step])
        return tf.random.stateless_uniform(shape, seed)

    def _read(self, declaration: Declaration) -> tf.Tensor:
        value = self._variables[declaration.name].read_value()
        if declaration.l2 and declaration.name not in self._penalties:
            self._penalties[declaration.name] = declaration.l2 * tf.nn.l2_loss(value)
        return value
