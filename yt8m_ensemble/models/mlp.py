"""`MlpModel`: dense layers with batch norm, context gating and residuals.

Its layers can classify pooled frames too, so the options of the layers are those models' as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.architecture import INPUT_MEAN, Architecture, Shapes, prior_logits
from yt8m_ensemble.models.layers import batch_norm, dense, zeros
from yt8m_ensemble.options.architectures import MlpCenteringOption, MlpLayerOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option


OUTPUT_BIASES = "output/biases"


def classify_dense(
    layers: MlpLayerOptions, tower: Tower, vectors: tf.Tensor, num_classes: int
) -> tf.Tensor:
    """Pass vectors through gated dense layers to a logistic output.

        g_i = relu(bn(h_{i-1} W_i + b_i));  h_i = g_i * sigmoid(bn(g_i V_i))  (+ h_{i-1}, i > 1)
        p   = sigmoid(h_L W + b)

    Args:
        layers: Number, width and kind of the layers.
        tower: Where `hidden<i>/{dense,gate}` and `output` live.
        vectors: `h_0`, shape `(B, D)`, float32.
        num_classes: Classes.

    Returns:
        Shape `(B, num_classes)`, float32.

    References:
        Miech, Laptev and Sivic 2017 (arXiv 1706.06905) for context gating; He et al. 2016 (arXiv
        1512.03385) for residuals.
    """
    hidden = vectors
    for number in range(1, layers.mlp_layers + 1):
        with tower.scope(f"hidden{number}"):
            layer = tf.nn.relu(_normalized(layers, tower, "dense", hidden))
            if layers.mlp_gating:
                layer *= tf.sigmoid(_normalized(layers, tower, "gate", layer))
        layer = tower.dropout(layer, layers.mlp_dropout)
        hidden = hidden + layer if layers.mlp_residual and number > 1 else layer
    return tf.sigmoid(dense(tower, "output", hidden, num_classes))


def _normalized(layers: MlpLayerOptions, tower: Tower, name: str, values: tf.Tensor) -> tf.Tensor:
    biases = not layers.mlp_batch_norm
    values = dense(tower, name, values, layers.mlp_hidden_size, biases=biases)
    return batch_norm(tower, f"{name}_bn", values) if layers.mlp_batch_norm else values


def infer_layers(shapes: Shapes) -> tuple[int, dict[str, Option]]:
    """Return classes and layers as the variables show them; residuals leave no variable.

    Raises:
        KeyError: If there are no such layers.
    """
    return shapes[OUTPUT_BIASES][0], {
        "mlp_hidden_size": shapes["hidden1/dense/weights"][1],
        "mlp_layers": sum(name.endswith("/dense/weights") for name in shapes),
        "mlp_batch_norm": "hidden1/dense_bn/beta" in shapes,
        "mlp_gating": "hidden1/gate/weights" in shapes,
    }


@dataclass(frozen=True)
class MlpModel(MlpCenteringOption, MlpLayerOptions, Architecture):
    """Pass the features through gated dense layers to a logistic output.

        h_0 = sqrt(F) x - mean

    with x of unit length; the layers are those of `classify_dense`. Features times sqrt(F) have
    about unit variance, which suits batch norm's epsilon.
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
        return classify_dense(self, tower, hidden, num_classes)

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return output biases; see `Architecture.prior_biases`."""
        return {OUTPUT_BIASES: prior_logits(frequencies)}

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return sizes and switches as the variables show them."""
        num_classes, options = infer_layers(shapes)
        return num_classes, {**options, "mlp_centering": INPUT_MEAN in shapes}
