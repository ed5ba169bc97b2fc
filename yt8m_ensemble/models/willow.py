"""The pattern of WILLOW's frame-level models of 2017: normalise, pool by feature, compress.

    x -> input_bn -> pool each feature -> concatenate -> hidden1 -> (gating) -> classifier

Subclasses pool one feature. Holds no pooling itself.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import tensorflow as tf

from yt8m_ensemble.models.frame_model import SampledFrameModel, split_features
from yt8m_ensemble.models.layers import batch_norm, inverse_root, normal

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class HiddenLayer:
    """Layer that compresses the pooled features.

    Args:
        size: Width; 0 leaves the pooled features as they are.
        clusters: First weights have standard deviation `1 / sqrt(clusters)`.
        add_batch_norm: Normalise, where `relu` is on too; otherwise biases are added.
        relu: Apply `relu6`.
    """

    size: int
    clusters: int
    add_batch_norm: bool
    relu: bool


@dataclass(frozen=True)
class WillowModel(SampledFrameModel):
    """Pool the first and the second feature apart, then compress both together.

    Attributes:
        pooling: Suffix of the two variable scopes, e.g. `VLAD`.

    References:
        Miech, Laptev and Sivic, "Learnable pooling with Context Gating for video classification",
        2017 (arXiv 1706.06905).
    """

    pooling: ClassVar[str]

    @abstractmethod
    def hidden_layer(self) -> HiddenLayer:
        """Return how the pooled features are compressed."""

    @abstractmethod
    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return the pool of one feature.

        Args:
            label: `video` for the first feature, `audio` for the second.
            frames: Shape `(B, T, D)`, float32, batch-normalised; padding is not 0.
            mask: Shape `(B, T)`, float32.
            tower: Where variables live, in the scope of the feature.

        Returns:
            Shape `(B, K)`, float32.
        """

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the compressed pools of all features; see `FrameModel.pool`."""
        layer = self.hidden_layer()
        if layer.add_batch_norm:
            frames = batch_norm_frames(tower, "input_bn", frames, mask)
        parts = []
        for label, part in split_features(frames, features):
            with tower.scope(f"{label}_{self.pooling}"):
                parts.append(self.pool_feature(label, part, mask, tower))
        pooled = tf.concat(parts, 1)
        return compress(tower, pooled, layer) if layer.size else pooled

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return what the classifier tells, if the scopes are this pooling's.

        Raises:
            KeyError: If they are another's.
        """
        if f"video_{cls.pooling}/cluster_weights" not in shapes:
            raise KeyError(cls.pooling)
        return super().infer(shapes)


def batch_norm_frames(tower: Tower, name: str, frames: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return frames `(B, T, F)` batch-normalised over all true frames of the batch."""
    size = frames.shape[-1]
    rows = tf.reshape(frames, (-1, size))
    normalized = batch_norm(tower, name, rows, weights=tf.reshape(mask, (-1, 1)))
    return tf.reshape(normalized, (-1, tf.shape(frames)[1], size))


def compress(tower: Tower, pooled: tf.Tensor, layer: HiddenLayer) -> tf.Tensor:
    """Return `relu6(batch norm(x W))`, or as much of it as the layer says, shape `(B, size)`."""
    weights = tower.variable(
        "hidden1_weights", (pooled.shape[1], layer.size), inverse_root(layer.clusters)
    )
    hidden = tower.matmul(pooled, weights)
    if layer.add_batch_norm and layer.relu:
        hidden = batch_norm(tower, "hidden1_bn", hidden)
    else:
        hidden += tower.variable("hidden1_biases", (layer.size,), normal(0.01))
    return tf.nn.relu6(hidden) if layer.relu else hidden


def gate_context(
    tower: Tower, vectors: tf.Tensor, *, add_batch_norm: bool, remove_diag: bool
) -> tf.Tensor:
    """Return `x * sigmoid(batch norm(x G))`, shape `(B, D)`.

    Args:
        tower: Where `gating_weights_2` and `gating_bn` live.
        vectors: Shape `(B, D)`, float32.
        add_batch_norm: Normalise the gates; otherwise biases are added.
        remove_diag: Leave each value out of its own gate.
    """
    size = vectors.shape[1]
    weights = tower.variable("gating_weights_2", (size, size), inverse_root(size))
    gates = tower.matmul(vectors, weights)
    if remove_diag:
        gates -= tf.raw_ops.MatrixDiagPart(input=weights) * vectors
    if add_batch_norm:
        gates = batch_norm(tower, "gating_bn", gates)
    else:
        gates += tower.variable("gating_biases", (size,), inverse_root(size))
    return vectors * tf.sigmoid(gates)
