"""Rows of the Kaggle submission file. Formats only; opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.metrics import top_k_classes
from yt8m_ensemble.values import csv_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUBMISSION_HEADER = "VideoId,LabelConfidencePairs\n"


def format_submission(
    video_ids: NDArray[np.bytes_],
    scores: NDArray[np.float32],
    *,
    top_k: int = TOP_K,
    path: str = "",
) -> Iterator[str]:
    r"""Format a row a video: `id,class confidence class confidence …`, falling confidence.

    Args:
        video_ids: Shape `(N,)`, bytes.
        scores: Shape `(N, C)`.
        top_k: Pairs a row; C if there are fewer classes.
        path: The record file that the videos came from, for messages.

    Yields:
        Lines with their line end; equal scores in class order, confidences as `%g`.

    Examples:
        >>> ids, scores = np.array([b"abcd"]), np.array([[0.25, 0.5, 1e-7]], np.float32)
        >>> list(format_submission(ids, scores, top_k=2))
        ['abcd,1 0.5 0 0.25\n']
    """
    classes = top_k_classes(scores, top_k)
    confidences = np.take_along_axis(scores, classes, axis=1)
    # The classes rise along each row, so a stable sort leaves equal scores in class order.
    order = np.argsort(-confidences, axis=1, kind="stable")
    columns = (np.take_along_axis(array, order, axis=1) for array in (classes, confidences))
    for video_id, *pairs in zip(video_ids.tolist(), *(c.tolist() for c in columns), strict=True):
        text = " ".join(map("%d %g".__mod__, zip(*pairs, strict=True)))
        yield f"{csv_field(video_id, path=path)},{text}\n"
