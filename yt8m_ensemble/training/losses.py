"""Losses of the starter code: functions of `(B, C)` probabilities and labels, both float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

CROSS_ENTROPY_EPSILON = 10e-6
"""The starter code's guard inside the logarithms of its cross entropy."""

SOFTMAX_EPSILON = 10e-8
"""The starter code's guard against videos without labels in its softmax loss."""

Loss = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]


def cross_entropy(predictions: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Sum binary cross entropies over classes: `-y log(p + 1e-5) - (1 - y) log(1 - p + 1e-5)`.

    Returns:
        The mean over the batch, a scalar.
    """
    positive = labels * tf.math.log(predictions + CROSS_ENTROPY_EPSILON)
    # A mixture's shares may sum to a little over 1, and the logarithm would not be a number.
    negative = (1 - labels) * tf.math.log(tf.maximum(1 - predictions, 0) + CROSS_ENTROPY_EPSILON)
    return -tf.reduce_mean(tf.reduce_sum(positive + negative, 1))


def hinge(predictions: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Sum `max(0, 1 - s p)` over classes, with s = 1 for a label and -1 otherwise.

    Returns:
        The mean over the batch, a scalar.
    """
    signs = 2 * labels - 1
    return tf.reduce_mean(tf.reduce_sum(tf.maximum(1 - signs * predictions, 0), 1))


def softmax(predictions: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross entropy of `softmax(p)` with the labels scaled to sum 1.

    Returns:
        The mean over the batch, a scalar; a video without labels counts 0.
    """
    shares = labels / tf.maximum(tf.reduce_sum(labels, 1, keepdims=True), SOFTMAX_EPSILON)
    return -tf.reduce_mean(tf.reduce_sum(shares * tf.nn.log_softmax(predictions), 1))


LOSSES: Mapping[str, Loss] = {
    "CrossEntropyLoss": cross_entropy,
    "HingeLoss": hinge,
    "SoftmaxLoss": softmax,
}
"""Losses by the starter code's names."""


def smooth_labels(labels: tf.Tensor, share: float) -> tf.Tensor:
    """Spread a share s of each video's k labels evenly over the C classes: `(1 - s) y + s k / C`.

    Args:
        labels: Shape `(B, C)`, float32.
        share: s, from 0 to 1.

    Returns:
        Shape `(B, C)`, float32, with the same sum a row.
    """
    return (1 - share) * labels + share * tf.reduce_mean(labels, 1, keepdims=True)
