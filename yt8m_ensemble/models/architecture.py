"""What every architecture is: a frozen dataclass of its options with one piece of arithmetic.

Holds no architecture itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import tensorflow as tf

from yt8m_ensemble.models.frames import dequantize_frames
from yt8m_ensemble.models.layers import l2_normalize
from yt8m_ensemble.options.architectures import ArchitectureOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yt8m_ensemble.models.tower import Tower
    from yt8m_ensemble.values import FeatureSpec, Option

Shapes = Mapping[str, tuple[int, ...]]
"""Variable shapes by name below `tower/`."""

INPUT_MEAN = "input_mean"
"""A variable that training fills with the mean of its inputs, before the first step."""


def prior_logits(frequencies: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the logits of shares between 0 and 1, shape `(C,)`, float32."""
    return np.log(frequencies / (1 - frequencies)).astype(np.float32)


@dataclass(frozen=True)
class Architecture(ArchitectureOptions, ABC):
    """A model without its weights; fields are the options, named as the originals' flags.

    Attributes:
        frame_level: Whether the model reads frames.
    """

    frame_level: ClassVar[bool]

    def __call__(
        self,
        raw: tf.Tensor,
        num_frames: tf.Tensor,
        tower: Tower,
        *,
        features: FeatureSpec,
        num_classes: int,
    ) -> tf.Tensor:
        """Turn features that are not normalised yet into class probabilities; see `predict`.

        Args:
            raw: Shape `(B, F)` or, at frame level, `(B, T, F)`; float32, dequantised. Frames may
                also be the uint8 of the records: then only frames that are used are dequantised.
            num_frames: Shape `(B,)`, int32; frames at or past it are padding.
            tower: Where variables live.
            features: What F is made of.
            num_classes: Classes.

        Returns:
            Shape `(B, num_classes)`, float32, in `[0, 1]`.
        """
        if tower.training:
            raw, num_frames = self.draw_frames(raw, num_frames, tower)
        if raw.dtype == tf.uint8:
            raw = dequantize_frames(raw, num_frames)
        inputs = l2_normalize(raw, -1)
        if tower.training:
            inputs, num_frames = tower.augment(inputs, num_frames)
        return self.predict(inputs, num_frames, tower, features=features, num_classes=num_classes)

    def draw_frames(
        self, raw: tf.Tensor, num_frames: tf.Tensor, tower: Tower
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Choose the frames to train on and count them: here, all of them.

        Returns:
            Frames and their numbers, shaped as the arguments.
        """
        del tower
        return raw, num_frames

    @abstractmethod
    def predict(
        self,
        inputs: tf.Tensor,
        num_frames: tf.Tensor,
        tower: Tower,
        *,
        features: FeatureSpec,
        num_classes: int,
    ) -> tf.Tensor:
        """Turn normalised features into class probabilities.

        Args:
            inputs: Shape `(B, F)` or, at frame level, `(B, T, F)`; float32, unit length over F.
            num_frames: Shape `(B,)`, int32; frames at or past it are padding.
            tower: Where variables live.
            features: What F is made of.
            num_classes: Classes.

        Returns:
            Shape `(B, num_classes)`, float32, in `[0, 1]`.
        """

    def prior_biases(self, frequencies: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """Return first values of output biases, so that first scores are about the frequencies.

        Args:
            frequencies: Share of the videos that each class is a label of, shape `(C,)`, above 0.

        Returns:
            Values by variable name below `tower/`; none here: the architecture has no such biases.
        """
        del frequencies
        return {}

    @classmethod
    @abstractmethod
    def infer(cls, shapes: Shapes) -> tuple[int, dict[str, Option]]:
        """Read the number of classes and the options off variable shapes.

        Only a proposal: `recognize` compares the variables that it implies with those found.

        Raises:
            KeyError: If a variable that this architecture always has is missing.
        """
