"""What training asks of its records before the first step: counts and means, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.data import read_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.values import FeatureSpec

_BATCH = 256
_TINY = 1e-12


@dataclass(frozen=True)
class RecordStatistics:
    """Counts and means over the records of a training run.

    Args:
        num_videos: Videos.
        class_counts: Videos with each label, shape `(C,)`, int64.
        input_mean: Mean of `sqrt(F) * x / |x|` over the videos, shape `(F,)`, float32; zeros of
            frame-level records.
    """

    num_videos: int
    class_counts: NDArray[np.int64]
    input_mean: NDArray[np.float32]

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Share of the videos with each label; a class that never occurs counts half a video."""
        found: NDArray[np.float64] = np.clip(self.class_counts, 0.5, self.num_videos - 0.5) / max(
            self.num_videos, 1
        )
        return found


def read_statistics(
    paths: Sequence[str], *, features: FeatureSpec, num_classes: int
) -> RecordStatistics:
    """Read counts and means of records.

    Args:
        paths: Record files.
        features: What to read.
        num_classes: Classes C.

    Returns:
        The statistics.
    """
    videos, counts = 0, np.zeros(num_classes, np.int64)
    total = np.zeros(features.total_size)
    for batch in read_batches(paths, features=features, num_classes=num_classes, batch_size=_BATCH):
        videos += len(batch.labels)
        counts += batch.labels.sum(axis=0)
        if not features.frame_level:
            rows = batch.features.astype(np.float64)
            lengths = np.sqrt(np.maximum(np.square(rows).sum(axis=1, keepdims=True), _TINY))
            total += (rows / lengths).sum(axis=0)
    mean = total * np.sqrt(features.total_size) / max(videos, 1)
    return RecordStatistics(videos, counts, mean.astype(np.float32))
