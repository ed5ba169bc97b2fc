"""`WillowNetVLADModelLF`: the gated NetVLAD of 2017, one hidden layer.

Its own model files call it `NetVLADModelLF`, as the 10th-place solution of 2018 calls a descendant
with other variables; the variables tell the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.models.layers import inverse_root, l2_normalize
from yt8m_ensemble.models.vlad import Clusters, light_vlad, net_vlad, net_vlagd, soft_assign
from yt8m_ensemble.models.willow import HiddenLayer, WillowModel, gate_context
from yt8m_ensemble.options.architectures import (
    GatingOption,
    NetVladBatchNormOption,
    NetVladDimredOption,
    NetVladReluOption,
    NetVladSizeOptions,
    VladVariantOptions,
)

if TYPE_CHECKING:
    import tensorflow as tf

    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class WillowNetVLADModelLF(
    VladVariantOptions,
    GatingOption,
    NetVladDimredOption,
    NetVladReluOption,
    NetVladBatchNormOption,
    NetVladSizeOptions,
    WillowModel,
):
    """Pool frames by VLAD, compress, gate the context, classify.

    Args:
        netvlad_cluster_size: Clusters of the first feature; the second has half as many.
        netvlad_hidden_size: Width of the hidden layer.
        netvlad_add_batch_norm: Normalise; otherwise biases are added.
        netvlad_relu: Apply `relu6` to the hidden layer.
        netvlad_dimred: Project each feature's pool to so many values first; -1 does not. The
            original declares this flag and never reads it; where it is set, the variables
            `dimred_weights` are ours.
        gating: Gate the hidden layer.
        lightvlad: Pool without cluster centres.
        vlagd: Pool with gated sums instead of residuals.
    """

    pooling = "VLAD"

    def hidden_layer(self) -> HiddenLayer:
        """Return the layer that the options describe."""
        return HiddenLayer(
            self.netvlad_hidden_size,
            self.netvlad_cluster_size,
            self.netvlad_add_batch_norm,
            self.netvlad_relu,
        )

    def pool_feature(
        self, label: str, frames: tf.Tensor, mask: tf.Tensor, tower: Tower
    ) -> tf.Tensor:
        """Return the VLAD of one feature; see `WillowModel.pool_feature`."""
        clusters = self.netvlad_cluster_size // (1 if label == "video" else 2)
        kind = Clusters(clusters, self.netvlad_add_batch_norm)
        assignment = soft_assign(frames, mask, tower, kind)
        if self.lightvlad:
            vlad = light_vlad(frames, assignment)
        else:
            pooling = net_vlagd if self.vlagd else net_vlad
            vlad = pooling(frames, assignment, tower)
        if self.netvlad_dimred == -1:
            return vlad
        shape = (vlad.shape[1], self.netvlad_dimred)
        weights = tower.variable("dimred_weights", shape, inverse_root(shape[0]))
        return l2_normalize(tower.matmul(vlad, weights), 1)

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the hidden layer, gated if asked for; see `FrameModel.pool`."""
        hidden = super().pool(frames, mask, tower, features=features)
        if not self.gating:
            return hidden
        return gate_context(
            tower,
            hidden,
            add_batch_norm=self.netvlad_add_batch_norm,
            remove_diag=self.gating_remove_diag,
        )

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return clusters, hidden size and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        vlagd = "video_VLAD/gate_weights" in shapes
        dimred = shapes.get("video_VLAD/dimred_weights")
        return num_classes, {
            **options,
            "netvlad_cluster_size": shapes["video_VLAD/cluster_weights"][1],
            "netvlad_hidden_size": shapes["hidden1_weights"][1],
            "netvlad_add_batch_norm": "input_bn/beta" in shapes,
            **({"netvlad_relu": "hidden1_bn/beta" in shapes} if "input_bn/beta" in shapes else {}),
            "netvlad_dimred": dimred[1] if dimred else -1,
            "gating": "gating_weights_2" in shapes,
            "lightvlad": not vlagd and "video_VLAD/cluster_weights2" not in shapes,
            "vlagd": vlagd,
        }
