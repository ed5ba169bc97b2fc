"""`NetFVModelLF`: WILLOW's learnable Fisher vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.layers import inverse_root, l2_normalize, normal
from yt8m_ensemble.models.vlad import Clusters, soft_assign, sum_by_cluster
from yt8m_ensemble.models.willow import HiddenLayer, WillowModel, gate_context
from yt8m_ensemble.options.architectures import (
    FisherVectorOptions,
    GatingOption,
    NetVladBatchNormOption,
)

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Initializer, Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class NetFVModelLF(GatingOption, NetVladBatchNormOption, FisherVectorOptions, WillowModel):
    """Pool first and second moments of the residuals to K clusters.

        fv1 = (sum a x - c sum a) / s;  fv2 = (sum a x^2 - 2 c sum a x + c^2 sum a) / s^2 - sum a

    with centres c and spreads s = w^2 + 1e-6.

    Args:
        fv_cluster_size: Clusters of the first feature; the second has half as many.
        fv_hidden_size: Width of the hidden layer.
        fv_relu: Apply `relu6` to the hidden layer.
        fv_couple_weights: Centres are the assignment's weights times `fv_coupling_factor`.
        fv_coupling_factor: That factor.
        netvlad_add_batch_norm: Normalise; otherwise biases are added.
        gating: Gate the hidden layer.
    """

    pooling = "FV"

    def hidden_layer(self) -> HiddenLayer:
        """Return the layer that the options describe."""
        return HiddenLayer(
            self.fv_hidden_size, self.fv_cluster_size, self.netvlad_add_batch_norm, self.fv_relu
        )

    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return both moments of one feature; see `WillowModel.pool_feature`."""
        size = frames.shape[-1]
        clusters = self.fv_cluster_size // (1 if label == "video" else 2)
        spread = tower.variable("covar_weights", (size, clusters), _around_one(size))
        spread = tf.square(spread) + 1e-6
        kind = Clusters(clusters, self.netvlad_add_batch_norm)
        assignment = soft_assign(frames, mask, tower, kind)
        if self.fv_couple_weights:
            weights = tower.variable("cluster_weights", (size, clusters), inverse_root(size))
            centers = self.fv_coupling_factor * weights
        else:
            shape = (1, size, clusters)
            centers = tower.variable("cluster_weights2", shape, inverse_root(size))
        mass = tf.reduce_sum(assignment, 1, keepdims=True)
        first = sum_by_cluster(frames, assignment)
        second = sum_by_cluster(tf.square(frames), assignment)
        second += mass * tf.square(centers) - 2 * first * centers
        second = second / tf.square(spread) - mass
        first = l2_normalize((first - mass * centers) / spread, 1)
        flat = (-1, size * clusters)
        # The second moments are normalised as one vector only, the first by cluster before.
        moments = [l2_normalize(tf.reshape(moment, flat), 1) for moment in (first, second)]
        return tf.concat(moments, 1)

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the hidden layer, gated if asked for; see `FrameModel.pool`."""
        hidden = super().pool(frames, mask, tower, features=features)
        if not self.gating:
            return hidden
        return gate_context(
            tower, hidden, add_batch_norm=self.netvlad_add_batch_norm, remove_diag=False
        )

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return clusters, hidden size and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        return num_classes, {
            **options,
            "fv_cluster_size": shapes["video_FV/cluster_weights"][1],
            "fv_hidden_size": shapes["hidden1_weights"][1],
            **({"fv_relu": "hidden1_bn/beta" in shapes} if "input_bn/beta" in shapes else {}),
            "fv_couple_weights": "video_FV/cluster_weights2" not in shapes,
            "netvlad_add_batch_norm": "input_bn/beta" in shapes,
            "gating": "gating_weights_2" in shapes,
        }


def _around_one(size: int) -> Initializer:
    return normal(size**-0.5, mean=1.0)
