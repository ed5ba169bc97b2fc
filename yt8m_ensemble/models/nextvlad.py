"""`NeXtVLADModel` of the 3rd place of 2018: grouped VLAD with attention and squeezed gating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.frame_model import FrameModel, split_features
from yt8m_ensemble.models.layers import batch_norm, l2_normalize, normal, zeros
from yt8m_ensemble.models.vlad import sum_by_cluster
from yt8m_ensemble.options.architectures import NextVladOptions

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Initializer, Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class NeXtVLADModel(NextVladOptions, FrameModel):
    """Expand each frame, split it into groups, pool all groups into one small VLAD.

    Args:
        nextvlad_cluster_size: Clusters of the first feature; the second has half as many.
        nextvlad_hidden_size: Width of the hidden layer.
        groups: Groups of the first feature; the second has half as many.
        expansion: Factor of the expansion.
        drop_rate: Share of the pooled values dropped while training.
        gating_reduction: Factor by which the gating squeezes the hidden layer.

    References:
        Lin, Xiao and Fan, "NeXtVLAD", ECCV Workshops 2018 (arXiv 1811.05014).
    """

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the gated hidden layer; see `FrameModel.pool`."""
        parts = []
        for label, part in split_features(frames, features):
            share = 1 if label == "video" else 2
            with tower.scope(f"{label}_VLAD"):
                clusters, groups = self.nextvlad_cluster_size // share, self.groups // share
                parts.append(self._vlad(part, mask, tower, clusters=clusters, groups=groups))
        vlad = tf.concat(parts, 1)
        if tower.training and self.drop_rate:
            kept = tf.cast(tower.uniform(tf.shape(vlad)) >= self.drop_rate, tf.float32)
            vlad = vlad * kept / (1 - self.drop_rate)
        hidden = batch_norm(
            tower, "hidden1_bn", _product(tower, "hidden1_weights", vlad, self.nextvlad_hidden_size)
        )
        squeezed = self.nextvlad_hidden_size // self.gating_reduction
        gates = _product(tower, "gating_weights_1", hidden, squeezed)
        gates = tf.nn.relu(batch_norm(tower, "gating_bn", gates))
        gates = _product(tower, "gating_weights_2", gates, self.nextvlad_hidden_size)
        return hidden * tf.sigmoid(gates)

    def _vlad(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, clusters: int, groups: int
    ) -> tf.Tensor:
        """Return `(B, clusters * width)`, width the values of one group."""
        wide = self.expansion * frames.shape[-1]
        width, time = wide // groups, tf.shape(frames)[1]
        rows = tf.reshape(frames, (-1, frames.shape[-1]))
        expanded = _dense(tower, "fully_connected", rows, wide)
        attention = tf.sigmoid(_dense(tower, "fully_connected_1", expanded, groups))
        attention *= tf.reshape(mask, (-1, 1))
        activation = batch_norm(
            tower,
            "cluster_bn",
            _product(tower, "cluster_weights", expanded, groups * clusters),
            weights=tf.reshape(mask, (-1, 1)),
        )
        assignment = tf.nn.softmax(tf.reshape(activation, (-1, clusters)))
        assignment *= tf.reshape(attention, (-1, 1))
        assignment = tf.reshape(assignment, tf.stack([-1, time * groups, clusters]))
        grouped = tf.reshape(expanded, tf.stack([-1, time * groups, width]))
        centers = tower.variable("cluster_weights2", (1, width, clusters), _he(width))
        mass = tf.reduce_sum(assignment, 1, keepdims=True)
        vlad = l2_normalize(sum_by_cluster(grouped, assignment) - mass * centers, 1)
        return batch_norm(tower, "vlad_bn", tf.reshape(vlad, (-1, width * clusters)))

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes as the variables show them."""
        num_classes, options = super().infer(shapes)
        size, wide = shapes["video_VLAD/fully_connected/weights"]
        hidden, squeezed = shapes["gating_weights_1"]
        return num_classes, {
            **options,
            "nextvlad_cluster_size": shapes["video_VLAD/cluster_weights2"][2],
            "nextvlad_hidden_size": hidden,
            "groups": shapes["video_VLAD/fully_connected_1/biases"][0],
            "expansion": wide // size,
            "gating_reduction": hidden // squeezed,
        }


def _dense(tower: Tower, name: str, rows: tf.Tensor, size: int) -> tf.Tensor:
    """Return `x W + b` with slim's names and He's first values."""
    with tower.scope(name):
        return _product(tower, "weights", rows, size) + tower.variable("biases", (size,), zeros)


def _product(tower: Tower, name: str, rows: tf.Tensor, size: int) -> tf.Tensor:
    inputs = rows.shape[-1]
    return tower.matmul(rows, tower.variable(name, (inputs, size), _he(inputs)))


def _he(inputs: int) -> Initializer:
    """Return an initializer with variance `2 / inputs`, as `slim.variance_scaling_initializer`."""
    return normal((2 / inputs) ** 0.5)
