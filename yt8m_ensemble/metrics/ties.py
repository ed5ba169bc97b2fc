"""What ties can do to GAP: its lowest and highest value over every order of equal scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.metrics.ranking import average_precision, check_same_shape
from yt8m_ensemble.metrics.selection import top_k_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def gap_tie_bounds(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> tuple[float, float]:
    """Return the lowest and highest GAP that any order of equal scores can give.

    The lowest has misses before hits wherever scores tie, also where a tie decides what a video
    keeps; the highest has hits first. `global_average_precision` lies between, as does any
    evaluator that breaks ties otherwise.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Pairs kept per video.

    Returns:
        Two fractions in `[0, 1]`, equal where no hit ties with a miss; `nan` without positives.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    Examples:
        >>> scores = np.array([[0.5, 0.5]])  # hit second: 1/2; hit first: 1/1
        >>> gap_tie_bounds(scores, np.array([[True, False]]))
        (0.5, 1.0)
    """
    check_same_shape(scores, labels)
    num_positives = int(np.count_nonzero(labels))
    ends = []
    for first in (~labels, labels):
        # Reordering the classes of each video puts the favored ones where the rule looks first.
        order = np.argsort(~first, axis=1, kind="stable")
        ordered, truth = np.take_along_axis(scores, order, 1), np.take_along_axis(labels, order, 1)
        classes = top_k_classes(ordered, top_k)
        values = np.take_along_axis(ordered, classes, axis=1).ravel()
        hits = np.take_along_axis(truth, classes, axis=1).ravel()
        favored = hits if first is labels else ~hits
        ends.append(average_precision(hits[np.lexsort((~favored, -values))], num_positives))
    return ends[0], ends[1]
