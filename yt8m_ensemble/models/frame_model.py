"""The frame-level pattern of the originals: choose frames, pool them to a vector, classify it.

Subclasses only pool. Holds no pooling itself.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models.architecture import prior_logits
from yt8m_ensemble.models.frames import frame_mask, sample_frames, sample_sequence
from yt8m_ensemble.models.logistic import classify_logistic
from yt8m_ensemble.models.mlp import OUTPUT_BIASES, classify_dense, infer_layers
from yt8m_ensemble.models.moe import MoeModel
from yt8m_ensemble.options.architectures import (
    ClassifierOptions,
    MlpLayerOptions,
    SamplingOptions,
)

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

    from yt8m_ensemble.models.architecture import Shapes
    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option

LABELS = ("video", "audio")


@dataclass(frozen=True)
class FrameModel(ClassifierOptions, MlpLayerOptions, MoeModel):
    """Pool frames and classify the result.

    Args:
        video_level_classifier_model: `MoeModel`, `LogisticModel` or `MlpModel`; the last one takes
            the pool as it is, not centered.

    Raises:
        ModelError: If the classifier is none of them.
    """

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
        """Return the classified pool; see `Architecture.predict`."""
        mask = frame_mask(inputs, num_frames)
        vectors = self.pool(inputs, mask, tower, features=features)
        if self.video_level_classifier_model == "LogisticModel":
            return classify_logistic(tower, vectors, num_classes)
        if self.video_level_classifier_model == "MlpModel":
            return classify_dense(self, tower, vectors, num_classes)
        return self.classify(tower, vectors, num_classes)

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return the classifier's biases; see `Architecture.prior_biases`."""
        if self.video_level_classifier_model == "LogisticModel":
            return {"fully_connected/biases": prior_logits(frequencies)}
        if self.video_level_classifier_model == "MlpModel":
            return {OUTPUT_BIASES: prior_logits(frequencies)}
        return super().prior_biases(frequencies)

    @abstractmethod
    def pool(
        self, frames: tf.Tensor, mask: tf.Tensor, tower: Tower, *, features: FeatureSpec
    ) -> tf.Tensor:
        """Return one vector a video.

        Args:
            frames: Shape `(B, T, F)`, float32, unit length over F.
            mask: Shape `(B, T)`, float32: 1 for true frames, 0 for padding.
            tower: Where variables live.
            features: What F is made of.

        Returns:
            Shape `(B, D)`, float32.
        """

    @classmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Return what the classifier tells; subclasses add their pooling's options."""
        if "fully_connected/biases" in shapes:
            classes = shapes["fully_connected/biases"][0]
            return classes, {"video_level_classifier_model": "LogisticModel"}
        if OUTPUT_BIASES in shapes:
            classes, layers = infer_layers(shapes)
            return classes, {"video_level_classifier_model": "MlpModel", **layers}
        return super().infer(shapes)


@dataclass(frozen=True)
class SampledFrameModel(SamplingOptions, FrameModel):
    """Pool a few drawn frames while training, all true frames otherwise.

    Args:
        iterations: Frames drawn of each video while training.
        sample_random_frames: Draw them one by one; otherwise a consecutive run.
    """

    def draw_frames(
        self, raw: tf.Tensor, num_frames: tf.Tensor, tower: Tower
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return `iterations` drawn frames a video; see `Architecture.draw_frames`."""
        draw = sample_frames if self.sample_random_frames else sample_sequence
        frames = draw(raw, num_frames, self.iterations, tower)
        # Every drawn frame is a true one.
        return frames, num_frames * 0 + self.iterations


def split_features(frames: tf.Tensor, features: FeatureSpec) -> list[tuple[str, tf.Tensor]]:
    """Split frames into what the originals call video and audio.

    Args:
        frames: Shape `(B, T, F)`.
        features: One or two features.

    Returns:
        `("video", first feature)` and, with two features, `("audio", second feature)`.

    Raises:
        ModelError: If there are more than two features.
    """
    if len(features.names) > len(LABELS):
        msg = (
            f"This architecture pools at most two features apart, got {len(features.names)}: "
            f"{', '.join(features.names)}. Name two with `yt8m-ens train --feature-names`."
        )
        raise ModelError(msg, names=features.names)
    parts, start = [], 0
    for label, size in zip(LABELS, features.sizes, strict=False):
        parts.append((label, frames[:, :, start : start + size]))
        start += size
    return parts
