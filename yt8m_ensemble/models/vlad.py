"""NetVLAD pooling and its two variants, one feature at a time.

Each returns a `(B, D * K)` vector of unit length: residuals (or sums) of D values to K clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.layers import batch_norm, inverse_root, l2_normalize

if TYPE_CHECKING:
    from yt8m_ensemble.models.tower import Tower


def net_vlad(frames: tf.Tensor, assignment: tf.Tensor, tower: Tower, *, scoped: bool) -> tf.Tensor:
    """Sum the residuals of frames to cluster centres: `sum over t of a[t, k] * (x[t] - c[k])`.

    Args:
        frames: Shape `(B, T, D)`, float32.
        assignment: Shape `(B, T, K)`, float32; 0 at padding.
        tower: Where `cluster_weights2` lives.
        scoped: Whether it lies in a scope of its own name, as in the 10th-place solution.

    Returns:
        Shape `(B, D * K)`, float32, unit length.

    References:
        Arandjelovic et al., "NetVLAD", CVPR 2016; Miech et al. 2017 (arXiv 1706.06905).
    """
    size, clusters = frames.shape[-1], assignment.shape[-1]
    name = "cluster_weights2/cluster_weights2" if scoped else "cluster_weights2"
    centers = tower.variable(name, (1, size, clusters), inverse_root(size))
    mass = tf.reduce_sum(assignment, 1, keepdims=True)
    return _unit(_sums(frames, assignment) - mass * centers)


def light_vlad(
    frames: tf.Tensor, assignment: tf.Tensor, tower: Tower, *, scoped: bool
) -> tf.Tensor:
    """Sum the frames by cluster, without centres; see `net_vlad`."""
    del tower, scoped
    return _unit(_sums(frames, assignment))


def net_vlagd(frames: tf.Tensor, assignment: tf.Tensor, tower: Tower, *, scoped: bool) -> tf.Tensor:
    """Sum the frames by cluster and gate every value of the sums; see `net_vlad`."""
    del scoped
    size, clusters = frames.shape[-1], assignment.shape[-1]
    weights = tower.variable("gate_weights", (1, clusters, size), inverse_root(size))
    return _unit(_sums(frames, assignment) * tf.transpose(tf.sigmoid(weights), (0, 2, 1)))


def soft_assign(
    frames: tf.Tensor,
    mask: tf.Tensor,
    tower: Tower,
    *,
    clusters: int,
    name: str,
    add_batch_norm: bool,
) -> tf.Tensor:
    """Assign each frame to clusters: `softmax(batch norm(x W))`.

    Args:
        frames: Shape `(B, T, D)`, float32.
        mask: Shape `(B, T)`, float32.
        tower: Where the weights live.
        clusters: K.
        name: Name of the weights.
        add_batch_norm: Whether to normalise; otherwise biases are added.

    Returns:
        Shape `(B, T, K)`, float32; 0 at padding.
    """
    activation = cluster_activation(
        frames, tower, clusters=clusters, name=name, add_batch_norm=add_batch_norm, mask=mask
    )
    assignment = tf.reshape(tf.nn.softmax(activation), (-1, tf.shape(frames)[1], clusters))
    return assignment * tf.expand_dims(mask, 2)


def cluster_activation(
    frames: tf.Tensor,
    tower: Tower,
    *,
    clusters: int,
    name: str,
    add_batch_norm: bool,
    mask: tf.Tensor,
) -> tf.Tensor:
    """Project every frame onto K clusters: `batch norm(x W)`, or `x W + b`.

    Returns:
        Shape `(B * T, K)`, float32.
    """
    size = frames.shape[-1]
    rows = tf.reshape(frames, (-1, size))
    activation = tower.matmul(rows, tower.variable(name, (size, clusters), inverse_root(size)))
    if add_batch_norm:
        return batch_norm(tower, "cluster_bn", activation, weights=tf.reshape(mask, (-1, 1)))
    return activation + tower.variable("cluster_biases", (clusters,), inverse_root(size))


def _sums(frames: tf.Tensor, assignment: tf.Tensor) -> tf.Tensor:
    """Return `(B, D, K)`: frames weighted by their assignment, summed over time."""
    # The raw operation: what `tf.matmul` emits for three axes is unknown to TensorFlow 1.8.
    return tf.raw_ops.BatchMatMul(x=frames, y=assignment, adj_x=True)


def _unit(residuals: tf.Tensor) -> tf.Tensor:
    """Normalise `(B, D, K)` over D within each cluster, flatten, normalise again."""
    size, clusters = residuals.shape[1], residuals.shape[2]
    return l2_normalize(tf.reshape(l2_normalize(residuals, 1), (-1, size * clusters)), 1)
