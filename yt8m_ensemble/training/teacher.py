"""Targets of distillation: a prediction file's scores, looked up by video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import AlignmentError, PredictionsError
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.values import Kept

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Teacher:
    """Mix the scores of a file's first member into labels: `(1 - w) y + w p`.

    All scores that the file keeps are held in memory: 4 C bytes a video, or 8 K of a file that
    keeps a top K, whose other scores count as `Kept` says.

    Args:
        path: The prediction file.
        weight: w.
        num_classes: Classes of the model that is trained.

    Raises:
        PredictionsError: If the file has another number of classes.

    References:
        Hinton, Vinyals and Dean 2015 (arXiv 1503.02531).
    """

    def __init__(self, path: str, *, weight: float, num_classes: int) -> None:
        self._path = path
        self._weight = np.float32(weight)
        with open_predictions(path) as file:
            if file.num_classes != num_classes:
                msg = (
                    f"The teacher '{path}' scores {file.num_classes} classes, "
                    f"the model {num_classes}. Give predictions of the same classes."
                )
                raise PredictionsError(msg, found=file.num_classes, expected=num_classes)
            video_ids = np.asarray(file.video_ids)
            self._num_classes = num_classes
            self._scores: Kept | NDArray[np.float32] = (
                file.kept(0) if file.top_k else file.scores(0)
            )
        self._order = np.argsort(video_ids)
        self._video_ids = video_ids[self._order]

    def targets(
        self, video_ids: NDArray[np.bytes_], labels: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the mixed targets of a batch.

        Args:
            video_ids: Shape `(B,)`, bytes.
            labels: Shape `(B, C)`, float32.

        Returns:
            Shape `(B, C)`, float32.

        Raises:
            AlignmentError: If a video has no scores.
        """
        wanted = video_ids.astype(np.bytes_)
        places = np.minimum(np.searchsorted(self._video_ids, wanted), len(self._video_ids) - 1)
        missing = wanted[self._video_ids[places] != wanted]
        if len(missing):
            msg = (
                f"The teacher '{self._path}' has no scores of {len(missing)} of {len(wanted)} "
                f"videos of a batch, e.g. '{missing[0].decode()}'. "
                "Make it with `yt8m-ens predict --cache` from the training records."
            )
            raise AlignmentError(msg, path=self._path, missing=len(missing))
        rows = self._order[places]
        if isinstance(self._scores, Kept):
            scores = self._scores.select(rows).filled(self._num_classes)
        else:
            scores = self._scores[rows]
        return (1 - self._weight) * labels + self._weight * scores
