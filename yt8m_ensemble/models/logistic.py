"""`LogisticModel` and `FrameLevelLogisticModel` of the starter code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf

from yt8m_ensemble.models.architecture import Architecture, Shapes, prior_logits
from yt8m_ensemble.models.frames import average_frames, frame_mask
from yt8m_ensemble.models.layers import dense

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option

L2 = 1e-8
"""The starter code's fixed penalty."""


def classify_logistic(tower: Tower, vectors: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Classify each class on its own: `sigmoid(x W + b)`.

    Args:
        tower: Where `fully_connected/{weights,biases}` live.
        vectors: Shape `(B, D)`, float32.
        num_classes: Classes.

    Returns:
        Shape `(B, num_classes)`, float32.
    """
    return tf.sigmoid(dense(tower, "fully_connected", vectors, num_classes, l2=L2))


@dataclass(frozen=True)
class LogisticModel(Architecture):
    """Classify the video-level features with one logistic regression a class."""

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
        """Return the regression; see `Architecture.predict`."""
        del num_frames, features
        return classify_logistic(tower, inputs, num_classes)

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return output biases; see `Architecture.prior_biases`."""
        return {"fully_connected/biases": prior_logits(frequencies)}

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return as many classes as there are biases."""
        return shapes["fully_connected/biases"][0], {}


@dataclass(frozen=True)
class FrameLevelLogisticModel(Architecture):
    """Classify the mean of the true frames with one logistic regression a class."""

    frame_level = True

    def predict(
        self,
        inputs: tf.Tensor,
        num_frames: tf.Tensor,
        tower: Tower,
        *,
        features: FeatureSpec,
        num_classes: int,
    ) -> tf.Tensor:
        """Return the regression of the mean; see `Architecture.predict`."""
        del features
        mean = average_frames(inputs, frame_mask(inputs, num_frames))
        return classify_logistic(tower, mean, num_classes)

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return output biases; see `Architecture.prior_biases`."""
        return {"fully_connected/biases": prior_logits(frequencies)}

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return as many classes as there are biases."""
        return shapes["fully_connected/biases"][0], {}
