"""`NetVLADModelLF` of the 10th-place solution of 2018: two hidden layers and context gating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.frame_model import SampledFrameModel, split_features
from yt8m_ensemble.models.layers import batch_norm, inverse_root, normal
from yt8m_ensemble.models.vlad import Clusters, light_vlad, net_vlad, net_vlagd, soft_assign
from yt8m_ensemble.options.architectures import (
    GatingOption,
    NetVladBatchNormOption,
    NetVladReluOption,
    NetVladSizeOptions,
    VladVariantOptions,
)

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class NetVLADModelLF(
    VladVariantOptions,
    GatingOption,
    NetVladReluOption,
    NetVladBatchNormOption,
    NetVladSizeOptions,
    SampledFrameModel,
):
    """Pool frames by VLAD, compress in two layers, gate the context, classify.

        h1 = relu6(batch norm(vlad W1));  h2 = h1 W2 + b2;  out = h2 * sigmoid(batch norm(h2 G))

    `relu6` is always there, as in the original, whatever its flag `netvlad_relu` says.

    Args:
        netvlad_cluster_size: Clusters of the first feature; the second has half as many.
        netvlad_hidden_size: Width of the first layer; the second is twice as wide.
        netvlad_add_batch_norm: Normalise assignments and gates; otherwise biases are added.
        netvlad_relu: Kept because model files carry it; has no effect.
        gating: Whether to gate.
        lightvlad: Pool without cluster centres.
        vlagd: Pool with gated sums instead of residuals.

    References:
        Liu et al., "Building a Size Constrained Predictive Model for Video Classification",
        ECCV Workshops 2018.
    """

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return `(B, 2 * netvlad_hidden_size)`; see `FrameModel.pool`."""
        parts = []
        for label, part in split_features(frames, features):
            clusters = self.netvlad_cluster_size // (1 if label == "video" else 2)
            with tower.scope(f"{label}_VLAD"):
                parts.append(self._vlad(part, mask, tower, clusters))
        vlad = tf.concat(parts, 1)
        hidden = self.netvlad_hidden_size
        first = tower.variable(
            "hidden1_weights/hidden1_weights", (vlad.shape[1], hidden), inverse_root(vlad.shape[1])
        )
        activation = tf.nn.relu6(batch_norm(tower, "hidden1_bn", tower.matmul(vlad, first)))
        second = tower.variable(
            "hidden2_weights/hidden2_weights", (hidden, 2 * hidden), inverse_root(hidden)
        )
        biases = tower.variable("hidden2_biases", (2 * hidden,), normal(0.01))
        activation = tower.matmul(activation, second) + biases
        return activation * self._gates(activation, tower) if self.gating else activation

    def _vlad(self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, clusters: int) -> tf.Tensor:
        plain = self.lightvlad or self.vlagd
        weights = "cluster_weights" if plain else "conv2/cluster_weights"
        kind = Clusters(clusters, self.netvlad_add_batch_norm, weights)
        assignment = soft_assign(frames, mask, tower, kind)
        if self.lightvlad:
            return light_vlad(frames, assignment)
        if self.vlagd:
            return net_vlagd(frames, assignment, tower)
        return net_vlad(frames, assignment, tower, centers="cluster_weights2/cluster_weights2")

    def _gates(self, activation: tf.Tensor, tower: Tower) -> tf.Tensor:
        size = activation.shape[1]
        weights = tower.variable("gating_weights/gating_weights", (size, size), inverse_root(size))
        gates = tower.matmul(activation, weights)
        if self.netvlad_add_batch_norm:
            return tf.sigmoid(batch_norm(tower, "gating_bn", gates))
        return tf.sigmoid(gates + tower.variable("gating_biases", (size,), normal(0.01)))

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return clusters, hidden size and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        plain = "video_VLAD/cluster_weights" in shapes
        clusters = "video_VLAD/cluster_weights" if plain else "video_VLAD/conv2/cluster_weights"
        vlagd = "video_VLAD/gate_weights" in shapes
        return num_classes, {
            **options,
            "netvlad_cluster_size": shapes[clusters][1],
            "netvlad_hidden_size": shapes["hidden1_weights/hidden1_weights"][1],
            "netvlad_add_batch_norm": "video_VLAD/cluster_bn/beta" in shapes,
            "gating": "gating_weights/gating_weights" in shapes,
            "lightvlad": plain and not vlagd,
            "vlagd": vlagd,
        }
