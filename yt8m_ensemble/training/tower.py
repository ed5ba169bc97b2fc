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
        precision: Dtype of matrix products.
        mixup: Alpha of the Beta distribution by which videos are mixed; 0 mixes none.
        input_dropout: Share of input values set to 0.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        *,
        seed: tf.Tensor,
        step: tf.Tensor,
        precision: str = "float32",
        mixup: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__(variables, training=True)
        self._precision = precision
        self._mixup, self._input_dropout = mixup, input_dropout
        self._share: tf.Tensor | None = None
        self._seed = seed
        self._step = step
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

    def augment(self, inputs: tf.Tensor, num_frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix each video with the one as far from the other end of the batch; drop input values.

        Args:
            inputs: Shape `(B, F)` or `(B, T, F)`, float32.
            num_frames: Shape `(B,)`, int32.

        Returns:
            Inputs and counts of the same shapes; a mixed video has the frames of the longer one.

        References:
            Zhang et al. 2018, "mixup" (arXiv 1710.09412).
        """
        if self._mixup:
            self._share = self._draw_shares(tf.shape(inputs)[0], self._mixup)
            inputs = self.mixed(inputs)
            num_frames = tf.maximum(num_frames, tf.reverse(num_frames, [0]))
        return self.dropout(inputs, self._input_dropout), num_frames

    def mixed(self, values: tf.Tensor) -> tf.Tensor:
        """Return values of a batch mixed as its inputs were: features, or targets `(B, C)`."""
        if self._share is None:
            return values
        ones = tf.ones(len(values.shape) - 1, tf.int32)
        share = tf.reshape(self._share, tf.concat([[-1], ones], 0))
        return share * values + (1 - share) * tf.reverse(values, [0])

    def _draw_shares(self, count: tf.Tensor, alpha: float) -> tf.Tensor:
        """Return draws of Beta(alpha, alpha), shape `(count,)`, float32."""
        self._draws += 2
        parts = [
            tf.random.stateless_gamma(
                [count], tf.stack([self._seed + self._draws + part, self._step]), alpha
            )
            for part in (-1, 0)
        ]
        # Tiny alphas underflow to 0 / 0, where either end is as likely.
        total = tf.maximum(parts[0] + parts[1], 1e-30)
        return parts[0] / total

    def matmul(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Return the product, float32, taken in the product dtype."""
        if self._precision == "float32":
            return tf.matmul(left, right)
        factors = [tf.cast(factor, self._precision) for factor in (left, right)]
        return tf.cast(tf.matmul(*factors), tf.float32)

    def _read(self, declaration: Declaration) -> tf.Tensor:
        value = super()._read(declaration)
        if declaration.l2 and declaration.name not in self._penalties:
            self._penalties[declaration.name] = declaration.l2 * tf.nn.l2_loss(value)
        return value
