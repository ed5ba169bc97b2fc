"""`MlpModel`: dense layers with batch norm, context gating and residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.architecture import INPUT_MEAN, Architecture, Shapes, prior_logits
from yt8m_ensemble.models.layers import batch_norm, dense, zeros
from yt8m_ensemble.options.architectures import MlpOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


@dataclass(frozen=True)
class MlpModel(MlpOptions, Architecture):
    """Pass the features through gated dense layers to a logistic output.

        h_0 = sqrt(F) x - mean
        g_i = relu(bn(h_{i-1} W_i + b_i));  h_i = g_i * sigmoid(bn(g_i V_i))  (+ h_{i-1}, i > 1)
        p   = sigmoid(h_L W + b)

    with x of unit length. Features times sqrt(F) have about unit variance, which suits batch norm's
    epsilon.

    References:
        Miech, Laptev and Sivic 2017 (arXiv 1706.06905) for context gating; He et al. 2016 (arXiv
        1512.03385) for residuals.
    """

    frame_level = False

    def predict(
        self,
        inputs: tf.Tensor,
        num_frames: tf.Tensor,
        tower: Tower,
        *,
        features: FeatureSpec,
        num_classes: int,
    ) -> tf.Tensor:
        """Return the output of the last layer; see `Architecture.predict`."""
        del num_frames, features
        hidden = inputs * math.sqrt(inputs.shape[-1])
        if self.mlp_centering:
            size = (inputs.shape[-1],)
            hidden -= tower.variable(INPUT_MEAN, size, zeros, trainable=False)
        for number in range(1, self.mlp_layers + 1):
            with tower.scope(f"hidden{number}"):
                layer = tf.nn.relu(self._normalized(tower, "dense", hidden))
                if self.mlp_gating:
                    layer *= tf.sigmoid(self._normalized(tower, "gate", layer))
            layer = tower.dropout(layer, self.mlp_dropout)
            hidden = hidden + layer if self.mlp_residual and number > 1 else layer
        return tf.sigmoid(dense(tower, "output", hidden, num_classes))

    def _normalized(self, tower: Tower, name: str, values: tf.Tensor) -> tf.Tensor:
        biases = not self.mlp_batch_norm
        values = dense(tower, name, values, self.mlp_hidden_size, biases=biases)
        return batch_norm(tower, f"{name}_bn", values) if self.mlp_batch_norm else values

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return output biases; see `Architecture.prior_biases`."""
        return {"output/biases": prior_logits(frequencies)}

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them; residuals leave no variable."""
        layers = sum(name.endswith("/dense/weights") for name in shapes)
        return shapes["output/biases"][0], {
            "mlp_hidden_size": shapes["hidden1/dense/weights"][1],
            "mlp_layers": layers,
            "mlp_batch_norm": "hidden1/dense_bn/beta" in shapes,
            "mlp_gating": "hidden1/gate/weights" in shapes,
            "mlp_centering": INPUT_MEAN in shapes,
        }
