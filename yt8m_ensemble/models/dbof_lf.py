"""WILLOW's bags of frames: `DbofModelLF`, `SoftDbofModelLF`, `GatedDbofModelLF`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.frames import average_frames, max_frames
from yt8m_ensemble.models.layers import batch_norm, inverse_root, l2_normalize
from yt8m_ensemble.models.vlad import Clusters, cluster_activation, soft_assign
from yt8m_ensemble.models.willow import HiddenLayer, WillowModel
from yt8m_ensemble.options.architectures import (
    DbofActivationOption,
    DbofBatchNormOption,
    DbofLfSizeOptions,
    DbofReluOption,
    SoftDbofOptions,
)

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import Option


@dataclass(frozen=True)
class _DbofLF(DbofReluOption, DbofBatchNormOption, DbofLfSizeOptions, WillowModel):
    """Options and hidden layer that the three share.

    Args:
        dbof_cluster_size: Clusters of the first feature; the second has an eighth as many.
        dbof_hidden_size: Width of the hidden layer.
        dbof_add_batch_norm: Normalise; otherwise biases are added.
        dbof_relu: Apply `relu6` to the hidden layer.
    """

    pooling = "DBOF"

    def hidden_layer(self) -> HiddenLayer:
        """Return the layer that the options describe."""
        return HiddenLayer(
            self.dbof_hidden_size,
            self.dbof_cluster_size,
            self.dbof_add_batch_norm,
            self.dbof_relu,
        )

    def _clusters(self, label: str) -> Clusters:
        count = self.dbof_cluster_size // (1 if label == "video" else 8)
        return Clusters(count, self.dbof_add_batch_norm)

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        normalized = "input_bn/beta" in shapes
        found: dict[str, Option] = {
            **options,
            "dbof_cluster_size": shapes["video_DBOF/cluster_weights"][1],
            "dbof_add_batch_norm": normalized,
        }
        if "hidden1_weights" in shapes:
            found["dbof_hidden_size"] = shapes["hidden1_weights"][1]
            if normalized:
                found["dbof_relu"] = "hidden1_bn/beta" in shapes
        return num_classes, found


@dataclass(frozen=True)
class DbofModelLF(DbofActivationOption, _DbofLF):
    """Pool cluster activations by mean and by maximum, each of unit length.

    Activations are linear: the original means to apply `dbof_activation` but compares the tensor
    with the name, which never holds; its checkpoints were trained so.

    Args:
        dbof_activation: `relu`, or `glu`, which doubles the clusters.

    Raises:
        ModelError: If the activation is neither.
    """

    def _clusters(self, label: str) -> Clusters:
        doubled = self.dbof_cluster_size * (2 if self.dbof_activation == "glu" else 1)
        return Clusters(doubled // (1 if label == "video" else 8), self.dbof_add_batch_norm)

    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return mean and maximum of one feature; see `WillowModel.pool_feature`."""
        activation = cluster_activation(frames, mask, tower, self._clusters(label))
        pools = [average_frames(activation, mask), max_frames(activation, mask)]
        return tf.concat([l2_normalize(pool, 1) for pool in pools], 1)

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches; doubled clusters look like plain ones, and compute alike."""
        num_classes, options = super().infer(shapes)
        return num_classes, {**options, "dbof_activation": "relu"}


@dataclass(frozen=True)
class SoftDbofModelLF(SoftDbofOptions, _DbofLF):
    """Pool soft cluster assignments: their sums, and their maxima if asked for.

    Args:
        softdbof_maxpool: Add the maxima.
        fc_dimred: Compress by the hidden layer.
    """

    def hidden_layer(self) -> HiddenLayer:
        """Return the layer that the options describe."""
        return HiddenLayer(
            self.dbof_hidden_size if self.fc_dimred else 0,
            self.dbof_cluster_size,
            self.dbof_add_batch_norm,
            self.dbof_relu,
        )

    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return the pool of one feature; see `WillowModel.pool_feature`."""
        assignment = soft_assign(frames, mask, tower, self._clusters(label))
        pools = [tf.reduce_sum(assignment, 1)]
        if self.softdbof_maxpool:
            pools.append(tf.reduce_max(assignment, 1))
        return tf.concat([l2_normalize(pool, 1) for pool in pools], 1)

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        compressed = "hidden1_weights" in shapes
        found: dict[str, Option] = {**options, "fc_dimred": compressed}
        if compressed:
            pooled = sum(
                shapes[name][1]
                for name in ("video_DBOF/cluster_weights", "audio_DBOF/cluster_weights")
                if name in shapes
            )
            found["softdbof_maxpool"] = shapes["hidden1_weights"][0] > pooled
        return num_classes, found


@dataclass(frozen=True)
class GatedDbofModelLF(SoftDbofModelLF):
    """Gate the first feature's soft sums by a projection of its maxima.

        pool = sum(a) * sigmoid(batch norm(unit(max(a)) R W2)), of unit length

    The second feature is pooled as in `SoftDbofModelLF`.
    """

    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return the pool of one feature; see `WillowModel.pool_feature`."""
        if label != "video":
            return super().pool_feature(label, frames, mask, tower)
        clusters, size = self.dbof_cluster_size, frames.shape[-1]
        assignment = soft_assign(frames, mask, tower, self._clusters(label))
        reduced = tower.variable("dim_red", (clusters, size), inverse_root(size))
        weights = tower.variable("cluster_weights_2", (size, clusters), inverse_root(size))
        strongest = l2_normalize(tf.reduce_max(assignment, 1), 1)
        gates = tower.matmul(tower.matmul(strongest, reduced), weights)
        if self.dbof_add_batch_norm:
            gates = batch_norm(tower, "cluster_bn_2", gates)
        else:
            gates += tower.variable("cluster_biases_2", (clusters,), inverse_root(size))
        return l2_normalize(tf.sigmoid(gates) * tf.reduce_sum(assignment, 1), 1)

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        compressed = shapes.get("hidden1_weights")
        audio = shapes.get("audio_DBOF/cluster_weights")
        if compressed and audio:
            video = shapes["video_DBOF/cluster_weights"][1]
            options["softdbof_maxpool"] = compressed[0] > video + audio[1]
        return num_classes, options
