"""The highest scores of each video by one member, and what the scores left out count as.

The one place that says so: tuning, evaluation, comparison, distillation and blending all take it
from here. Arrays only; opens nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEFT_OUT_SHARE = np.float32(0.5)
"""A score that was left out counts as this share of the lowest that was kept of the video."""


class Kept(NamedTuple):
    """What a list or a cache keeps of B videos.

    Attributes:
        class_ids: Classes, rising along each row, shape `(B, K)`, int32.
        scores: Their confidences, shape `(B, K)`, float32.
        bounds: What no score left out is above, shape `(B,)`, float32.
    """

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @classmethod
    def exact(cls, class_ids: NDArray[np.int32], scores: NDArray[np.float32]) -> Kept:
        """Return kept scores that were not rounded: their lowest bounds those left out."""
        return cls(class_ids, scores, scores.min(axis=1))

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """Return what is kept of the videos of several parts, one after the other."""
        return cls(
            np.concatenate([part.class_ids for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.bounds for part in parts]),
        )

    def select(self, rows: NDArray[np.integer]) -> Kept:
        """Return what is kept of the given videos, in their order."""
        return Kept(self.class_ids[rows], self.scores[rows], self.bounds[rows])

    @property
    def left_out(self) -> NDArray[np.float32]:
        """What each score left out counts as: half of the lowest kept, shape `(B,)`, float32."""
        lowest: NDArray[np.float32] = self.scores.min(axis=1)
        return lowest * LEFT_OUT_SHARE

    def filled(self, num_classes: int) -> NDArray[np.float32]:
        """Return the scores of all classes, those left out as `left_out` counts them.

        Args:
            num_classes: Classes C.

        Returns:
            Shape `(B, C)`, float32.

        Examples:
            >>> Kept.exact(np.array([[0, 2]]), np.array([[0.5, 0.25]], np.float32)).filled(3)
            array([[0.5  , 0.125, 0.25 ]], dtype=float32)
        """
        dense = np.repeat(self.left_out[:, None], num_classes, axis=1)
        np.put_along_axis(dense, self.class_ids, self.scores, axis=1)
        return dense
