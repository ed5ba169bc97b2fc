"""Rows of the Kaggle submission file. Formats only; opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.facts import TOP_K

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUBMISSION_HEADER = "VideoId,LabelConfidencePairs\n"


def format_submission(
    video_ids: NDArray[np.bytes_], scores: NDArray[np.float32], *, top_k: int = TOP_K
) -> Iterator[str]:
    r"""Format a row a video: `id,class confidence class confidence …`, falling confidence.

    Args:
        video_ids: Shape `(N,)`, bytes.
        scores: Shape `(N, C)`.
        top_k: Pairs a row; C if there are fewer classes.

    Yields:
        Lines with their line end; equal scores in class order, confidences as `%g`.

    Examples:
        >>> ids, scores = np.array([b"abcd"]), np.array([[0.25, 0.5, 1e-7]], np.float32)
        >>> list(format_submission(ids, scores, top_k=2))
        ['abcd,1 0.5 0 0.25\\n']
    """
    kept = min(top_k, scores.shape[1])
    if kept < scores.shape[1]:
        # Every score that ties with the last one kept must stay for the class order to decide.
        least = -np.partition(-scores, kept - 1, axis=1)[:, kept - 1 : kept]
    else:
        least = scores.min(axis=1, keepdims=True)
    for video_id, row, bound in zip(video_ids.tolist(), scores, least[:, 0], strict=True):
        classes = np.flatnonzero(row >= bound)
        classes = classes[np.argsort(-row[classes], kind="stable")][:kept]
        pairs = " ".join(
            f"{c} {p:g}" for c, p in zip(classes.tolist(), row[classes].tolist(), strict=True)
        )
        yield f"{video_id.decode()},{pairs}\n"
