"""`DbofModel` of the starter code: a deep bag of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.frame_model import SampledFrameModel
from yt8m_ensemble.models.frames import average_frames, max_frames
from yt8m_ensemble.models.vlad import Clusters, cluster_activation
from yt8m_ensemble.models.willow import HiddenLayer, batch_norm_frames, compress
from yt8m_ensemble.options.architectures import (
    DbofBatchNormOption,
    DbofPoolingOption,
    DbofSizeOptions,
)

if TYPE_CHECKING:
    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option

POOLINGS = {"max": max_frames, "average": average_frames}


@dataclass(frozen=True)
class DbofModel(DbofPoolingOption, DbofBatchNormOption, DbofSizeOptions, SampledFrameModel):
    """Project each frame onto clusters, pool over time, compress, classify.

    Args:
        dbof_cluster_size: Clusters.
        dbof_hidden_size: Width of the hidden layer.
        dbof_add_batch_norm: Normalise; otherwise biases are added.
        dbof_pooling_method: `max` or `average` over time.

    Raises:
        ModelError: If the pooling is neither.

    References:
        Abu-El-Haija et al. 2016 (arXiv 1609.08675).
    """

    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return the hidden layer; see `FrameModel.pool`."""
        del features
        clusters, normalize = self.dbof_cluster_size, self.dbof_add_batch_norm
        if normalize:
            frames = batch_norm_frames(tower, "input_bn", frames, mask)
        activation = tf.nn.relu6(
            cluster_activation(frames, mask, tower, Clusters(clusters, normalize))
        )
        pooled = POOLINGS[self.dbof_pooling_method](activation, mask)
        return compress(
            tower, pooled, HiddenLayer(self.dbof_hidden_size, clusters, normalize, relu=True)
        )

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them."""
        num_classes, options = super().infer(shapes)
        return num_classes, {
            **options,
            "dbof_cluster_size": shapes["cluster_weights"][1],
            "dbof_hidden_size": shapes["hidden1_weights"][1],
            "dbof_add_batch_norm": "input_bn/beta" in shapes,
        }
