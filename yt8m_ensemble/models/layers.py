"""The layers that architectures are made of, with slim's variable names and arithmetic.

Only operations that TensorFlow 1.8 knows. Holds no architecture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Initializer, Tower

BATCH_NORM_EPSILON = 1e-3
"""`slim.batch_norm`'s default."""

NORM_EPSILON = 1e-12
"""`tf.nn.l2_normalize`'s default: squared norms below it count as this."""


def zeros(_: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Return zeros."""
    return np.zeros(shape, np.float32)


def ones(_: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Return ones."""
    return np.ones(shape, np.float32)


def normal(stddev: float, *, mean: float = 0.0) -> Initializer:
    """Return an initializer that draws from a normal distribution."""
    return lambda rng, shape: (rng.standard_normal(shape, np.float32) * stddev + mean).astype(
        np.float32
    )


def inverse_root(size: int) -> Initializer:
    """Return one with standard deviation `1 / sqrt(size)`, as most weights of the originals."""
    return normal(1 / math.sqrt(size))


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Return draws from ± sqrt(6 / (rows + columns)), slim's default for dense layers."""
    limit = math.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def l2_normalize(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Return unit lengths along an axis: `x / sqrt(max(sum(x ** 2), 1e-12))`."""
    squared = tf.reduce_sum(tf.square(values), axis, keepdims=True)
    return values * tf.math.rsqrt(tf.maximum(squared, NORM_EPSILON))


def dense(
    tower: Tower, name: str, inputs: tf.Tensor, size: int, *, biases: bool = True, l2: float = 0.0
) -> tf.Tensor:
    """Multiply by `name/weights` and add `name/biases`.

    Args:
        tower: Where the variables live.
        name: Their scope.
        inputs: Shape `(N, D)`, float32.
        size: Outputs a row.
        biases: Whether there are biases.
        l2: Penalty on the weights.

    Returns:
        Shape `(N, size)`, float32.
    """
    with tower.scope(name):
        weights = tower.variable("weights", (inputs.shape[-1], size), glorot_uniform, l2=l2)
        outputs = tower.matmul(inputs, weights)
        if biases:
            outputs = tf.nn.bias_add(outputs, tower.variable("biases", (size,), zeros))
    return outputs


def batch_norm(
    tower: Tower, name: str, values: tf.Tensor, *, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Normalise columns by the batch while training, by moving averages otherwise.

    `(x - mean) / sqrt(variance + 0.001) * gamma + beta`; the moving variance is fed the unbiased
    batch variance, as TensorFlow's fused kernel does.

    Args:
        tower: Where `name/{beta,gamma,moving_mean,moving_variance}` live.
        name: Their scope.
        values: Shape `(N, D)`, float32.
        weights: Shape `(N, 1)`, 1 for rows that count in the batch statistics, 0 for padding.

    Returns:
        Shape `(N, D)`, float32.
    """
    size = (values.shape[-1],)
    with tower.scope(name):
        beta = tower.variable("beta", size, zeros)
        gamma = tower.variable("gamma", size, ones)
        mean = tower.variable("moving_mean", size, zeros, trainable=False)
        variance = tower.variable("moving_variance", size, ones, trainable=False)
        if tower.training:
            mean, variance, count = _moments(values, weights)
            tower.average("moving_mean", mean)
            tower.average("moving_variance", variance * (count / tf.maximum(count - 1, 1)))
    scale = gamma * tf.math.rsqrt(variance + BATCH_NORM_EPSILON)
    return values * scale + (beta - mean * scale)


def _moments(
    values: tf.Tensor, weights: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return mean, biased variance, and the number of rows that count."""
    if weights is None:
        mean = tf.reduce_mean(values, 0)
        variance = tf.reduce_mean(tf.square(values - mean), 0)
        return mean, variance, tf.cast(tf.shape(values)[0], tf.float32)
    count = tf.maximum(tf.reduce_sum(weights), 1)
    mean = tf.reduce_sum(values * weights, 0) / count
    variance = tf.reduce_sum(tf.square(values - mean) * weights, 0) / count
    return mean, variance, count
