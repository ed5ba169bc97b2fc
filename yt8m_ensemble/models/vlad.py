"""NetVLAD pooling and its two variants, one feature at a time.

Each returns a `(B, D * K)` vector of unit length: residuals (or sums) of D values to K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.layers import batch_norm, inverse_root, l2_normalize

if TYPE_CHECKING:
    from yt8m_ensemble.models.tower import Tower


@dataclass(frozen=True)
class Clusters:
    """Clusters that frames are assigned to.

    Args:
        count: K.
        add_batch_norm: Whether activations are normalised; otherwise biases are added.
        weights: Name of the projection's weights.
    """

    count: int
    add_batch_norm: bool
    weights: str = "cluster_weights"


def net_vlad(
    frames: tf.Tensor, assignment: tf.Tensor, tower: Tower, *, centers: str = "cluster_weights2"
) -> tf.Tensor:
    """Sum the residuals of frames to cluster centres: `sum over t of a[t, k] * (x[t] - c[k])`.

    Args:
        frames: Shape `(B, T, D)`, float32.
        assignment: Shape `(B, T, K)`, float32; 0 at padding.
        tower: Where the centres live.
        centers: Their name.

    Returns:
        Shape `(B, D * K)`, float32, unit length.

    References:
        Arandjelovic et al., "NetVLAD", CVPR 2016; Miech et al. 2017 (arXiv 1706.06905).
    """
    size, clusters = frames.shape[-1], assignment.shape[-1]
    places = tower.variable(centers, (1, size, clusters), inverse_root(size))
    mass = tf.reduce_sum(assignment, 1, keepdims=True)
    return unit_vlad(sum_by_cluster(frames, assignment) - mass * places)


def light_vlad(frames: tf.Tensor, assignment: tf.Tensor) -> tf.Tensor:
    """Return sums of frames by cluster, without centres; see `net_vlad`."""
    return unit_vlad(sum_by_cluster(frames, assignment))


def net_vlagd(frames: tf.Tensor, assignment: tf.Tensor, tower: Tower) -> tf.Tensor:
    """Return sums of frames by cluster, each value gated; see `net_vlad`."""
    size, clusters = frames.shape[-1], assignment.shape[-1]
    weights = tower.variable("gate_weights", (1, clusters, size), inverse_root(size))
    gates = tf.transpose(tf.sigmoid(weights), (0, 2, 1))
    return unit_vlad(sum_by_cluster(frames, assignment) * gates)


def soft_assign(frames: tf.Tensor, mask: tf.Tensor, tower: Tower, clusters: Clusters) -> tf.Tensor:
    """Assign each frame to clusters: `softmax(batch norm(x W))`.

    Args:
        frames: Shape `(B, T, D)`, float32.
        mask: Shape `(B, T)`, float32.
        tower: Where the variables live; see `cluster_activation`.
        clusters: K of them.

    Returns:
        Shape `(B, T, K)`, float32; 0 at padding.
    """
    activation = cluster_activation(frames, mask, tower, clusters)
    # TensorFlow 1.8 takes a softmax of rows only.
    assignment = tf.nn.softmax(tf.reshape(activation, (-1, clusters.count)))
    return tf.reshape(assignment, tf.shape(activation)) * tf.expand_dims(mask, 2)


def cluster_activation(
    frames: tf.Tensor, mask: tf.Tensor, tower: Tower, clusters: Clusters
) -> tf.Tensor:
    """Project every frame onto clusters: `batch norm(x W)`, or `x W + b`.

    Args:
        frames: Shape `(B, T, D)`, float32.
        mask: Shape `(B, T)`, float32.
        tower: Where the weights, and `cluster_bn` or `cluster_biases`, live.
        clusters: K of them.

    Returns:
        Shape `(B, T, K)`, float32; padding holds values that mean nothing.
    """
    size, count = frames.shape[-1], clusters.count
    weights = tower.variable(clusters.weights, (size, count), inverse_root(size))
    activation = tower.matmul(tf.reshape(frames, (-1, size)), weights)
    if clusters.add_batch_norm:
        rows = tf.reshape(mask, (-1, 1))
        activation = batch_norm(tower, "cluster_bn", activation, weights=rows)
    else:
        activation += tower.variable("cluster_biases", (count,), inverse_root(size))
    return tf.reshape(activation, (-1, tf.shape(frames)[1], count))


def sum_by_cluster(frames: tf.Tensor, assignment: tf.Tensor) -> tf.Tensor:
    """Return `(B, D, K)`: frames `(B, T, D)` weighted by `(B, T, K)` and summed over time."""
    # The raw operation: what `tf.matmul` emits for three axes is unknown to TensorFlow 1.8.
    return tf.raw_ops.BatchMatMul(x=frames, y=assignment, adj_x=True)


def unit_vlad(residuals: tf.Tensor) -> tf.Tensor:
    """Return `(B, D, K)` normalised over D within each cluster, flattened, normalised again."""
    size, clusters = residuals.shape[1], residuals.shape[2]
    return l2_normalize(tf.reshape(l2_normalize(residuals, 1), (-1, size * clusters)), 1)
