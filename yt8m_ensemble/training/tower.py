"""The tower of a training step: `tf.Variable`s, stateless draws, moving averages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from yt8m_ensemble.models import Declaration, Tower

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class VariableTower(Tower):
    """Read `tf.Variable`s, for predictions during and after training.

    Args:
        variables: Model variables by checkpoint name.
        training: See `Tower`.
    """

    def __init__(self, variables: Mapping[str, Any], *, training: bool = False) -> None:
        super().__init__(training=training)
        self._variables = variables

    def _read(self, declaration: Declaration) -> tf.Tensor:
        return self._variables[declaration.name].read_value()


class TrainingTower(VariableTower):
    """Answer an architecture while one step is traced; make a new one for every trace.

    Args:
        variables: Model variables by checkpoint name.
        seed: Seed of the draws, int32 scalar tensor; differs between replicas.
        step: The step, int32 scalar tensor; equal steps draw equal numbers.
        product_dtype: Dtype of matrix products.
    """

    def __init__(
        self, variables: Mapping[str, Any], *, seed: tf.Tensor, step: tf.Tensor, product_dtype: str
    ) -> None:
        super().__init__(variables, training=True)
        self._seed = seed
        self._step = step
        self._product_dtype = product_dtype
        self._draws = 0
        self._penalties: dict[str, tf.Tensor] = {}
        self.averages: dict[str, tf.Tensor] = {}

    @property
    def penalty(self) -> tf.Tensor:
        """Sum of the L2 terms of the variables used so far, a float32 scalar."""
        return tf.add_n([*self._penalties.values(), tf.constant(0.0)])

    def average(self, name: str, value: tf.Tensor) -> None:
        """Note a value for the moving average; the step assigns it once replicas agree."""
        self.averages[f"{self._scope}/{name}"] = value

    def uniform(self, shape: Sequence[Any]) -> tf.Tensor:
        """Return draws from the seed, the step and the number of draws before this one."""
        self._draws += 1
        seed = tf.stack([self._seed + self._draws, self._step])
        return tf.random.stateless_uniform(shape, seed)

    def matmul(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Return the product, float32, taken in the product dtype."""
        if self._product_dtype == "float32":
            return tf.matmul(left, right)
        factors = [tf.cast(factor, self._product_dtype) for factor in (left, right)]
        return tf.cast(tf.matmul(*factors), tf.float32)

    def _read(self, declaration: Declaration) -> tf.Tensor:
        value = super()._read(declaration)
        if declaration.l2 and declaration.name not in self._penalties:
            self._penalties[declaration.name] = declaration.l2 * tf.nn.l2_loss(value)
        return value
