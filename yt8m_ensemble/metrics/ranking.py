"""Metrics of whole score matrices, each one call. Holds no state; see `streaming` for shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import ShapeError
from yt8m_ensemble.metrics.selection import falling_order, order_by_class, top_k_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AXES = 2  # videos, classes


def global_average_precision(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> float:
    """Score a ranking of (video, class) pairs pooled over all videos.

    Keep the `top_k` highest scores of each video, pool them, sort the pool by falling
    score, and average the precision at every rank that is a hit:

        GAP = (1 / P) * sum over hits i of (hits among ranks 1..i) / i

    `P` counts all positive labels, also those outside every top `top_k`.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; only their order counts.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Pairs kept per video; the 2018 challenge used 20.

    Returns:
        A fraction in `[0, 1]`, summed in float64; `nan` if `labels` has no positive.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    Note:
        Equal scores rank in (video, class) order. float16 ties often: emit float32.

    References:
        Lee et al., "The 2nd YouTube-8M Large-Scale Video Understanding
        Challenge", ECCV Workshops 2018.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.4]])  # pool: hit, miss, hit, hit
        >>> labels = np.array([[True, True], [False, True]])
        >>> round(global_average_precision(scores, labels), 4)  # (1/1 + 2/3 + 3/4) / 3
        0.8056
    """
    check_same_shape(scores, labels)
    classes = top_k_classes(scores, top_k)
    values = np.take_along_axis(scores, classes, axis=1).ravel()
    hits = np.take_along_axis(labels, classes, axis=1).ravel()
    return average_precision(hits[falling_order(values)], int(np.count_nonzero(labels)))


def hit_at_one(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Return the fraction of videos whose highest score is a positive class.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; among equal scores the lowest class.
        labels: Ground truth, shape `(N, C)`, bool; a video without labels counts as a miss.

    Returns:
        A fraction in `[0, 1]`; `nan` without videos.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        PredictionsError: If `scores` holds a nan.

    References:
        google/youtube-8m, `eval_util.calculate_hit_at_one`.

    Examples:
        >>> hit_at_one(np.array([[0.9, 0.1], [0.8, 0.4]]), np.array([[True, False], [False, True]]))
        0.5
    """
    check_same_shape(scores, labels)
    best = top_k_classes(scores, 1)
    return _ratio(int(np.count_nonzero(np.take_along_axis(labels, best, axis=1))), len(scores))


def precision_at_equal_recall_rate(
    scores: NDArray[np.floating], labels: NDArray[np.bool_]
) -> float:
    """Return the mean precision of each video's best `n` classes, where it has `n` labels (PERR).

        PERR = (1 / N) * sum over videos of (positives with score > 0 among its top n) / n

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; among equal scores the lowest class.
        labels: Ground truth, shape `(N, C)`, bool; a video without labels adds 0, as in the
            official evaluator.

    Returns:
        A fraction in `[0, 1]`, summed in float64; `nan` without videos.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        PredictionsError: If `scores` holds a nan.

    References:
        google/youtube-8m, `eval_util.calculate_precision_at_equal_recall_rate`.

    Examples:
        >>> scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.4, 0.6]])
        >>> labels = np.array([[True, True, False], [False, False, True]])
        >>> precision_at_equal_recall_rate(scores, labels)  # (1/2 + 0/1) / 2
        0.25
    """
    check_same_shape(scores, labels)
    classes = top_k_classes(scores, TOP_K)
    total = sum_of_precisions(
        scores,
        labels,
        num_labels=np.bincount(find_positives(labels)[0], minlength=len(labels)),
        values=np.take_along_axis(scores, classes, axis=1),
        hits=np.take_along_axis(labels, classes, axis=1),
    )
    return _ratio(total, len(scores))


def precision_and_recall(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> tuple[float, float]:
    """Return precision and recall of each video's `top_k` classes, over all videos at once.

        precision = hits / (N * min(top_k, C))        recall = hits / positives

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; among equal scores the lowest class.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Classes kept per video.

    Returns:
        Two fractions in `[0, 1]`; `nan` without videos, or without positives.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.4]])
        >>> precision_and_recall(scores, np.array([[True, True], [False, True]]), top_k=1)
        (0.5, 0.3333333333333333)
    """
    check_same_shape(scores, labels)
    classes = top_k_classes(scores, top_k)
    hits = int(np.count_nonzero(np.take_along_axis(labels, classes, axis=1)))
    return _ratio(hits, classes.size), _ratio(hits, int(np.count_nonzero(labels)))


def average_precisions(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> NDArray[np.float64]:
    """Return each class's average precision over the videos that keep it in their `top_k`.

    As the official evaluator does, a class only ranks the videos that hold it among their
    `top_k` highest scores, while its positives are counted over all videos.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; only their order counts.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Pairs kept per video.

    Returns:
        Shape `(C,)`, float64; `nan` for a class that is never positive.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    References:
        google/youtube-8m, `mean_average_precision_calculator`.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.4]])
        >>> average_precisions(scores, np.array([[False, False], [True, False]]))  # (1/2) / 1
        array([0.5, nan])
    """
    check_same_shape(scores, labels)
    classes = top_k_classes(scores, top_k)
    return class_average_precisions(
        classes.ravel(),
        np.take_along_axis(scores, classes, axis=1).ravel(),
        np.take_along_axis(labels, classes, axis=1).ravel(),
        positives=np.bincount(find_positives(labels)[1], minlength=labels.shape[1]),
    )


def mean_average_precision(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> float:
    """Return the mean of `average_precisions` over the classes that occur, as the 2019 evaluator.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; only their order counts.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Pairs kept per video.

    Returns:
        A fraction in `[0, 1]`; `nan` if no class is ever positive.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.4]])
        >>> mean_average_precision(scores, np.array([[False, False], [True, False]]))
        0.5
    """
    return mean_over_occurring(average_precisions(scores, labels, top_k=top_k))


def mean_average_precision_all_classes(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, top_k: int = TOP_K
) -> float:
    """Return the mean of `average_precisions` over all classes, as the 2018 evaluator.

    A class that is never positive counts as 0, so the value falls with every absent class.

    Args:
        scores: Confidences, shape `(N, C)`, any float dtype; only their order counts.
        labels: Ground truth, shape `(N, C)`, bool.
        top_k: Pairs kept per video.

    Returns:
        A fraction in `[0, 1]`.

    Raises:
        ShapeError: If `scores` and `labels` differ in shape.
        UsageError: If `top_k` is below 1.
        PredictionsError: If `scores` holds a nan.

    Examples:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.4]])
        >>> mean_average_precision_all_classes(scores, np.array([[False, False], [True, False]]))
        0.25
    """
    return float(np.mean(np.nan_to_num(average_precisions(scores, labels, top_k=top_k))))


def check_same_shape(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
    """Refuse scores and labels of different shapes.

    Raises:
        ShapeError: If they differ or are no matrices.
    """
    if np.ndim(scores) != _AXES or scores.shape != labels.shape:
        msg = (
            f"Scores have shape {scores.shape} but labels {labels.shape}; "
            "both must be (number of videos, number of classes)."
        )
        raise ShapeError(msg, scores=scores.shape, labels=labels.shape)


def average_precision(hits: NDArray[np.bool_], num_positives: int) -> float:
    """Return the average precision of one ranking: (1 / P) * sum over hits i of (hits in 1..i) / i.

    Args:
        hits: Whether each rank is a positive, best rank first, shape `(n,)`.
        num_positives: `P`, which also counts positives that the ranking lacks.

    Returns:
        A fraction in `[0, 1]`, summed in float64; `nan` if `num_positives` is 0.

    Examples:
        >>> average_precision(np.array([True, False, True]), 2)  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    ranks = np.flatnonzero(hits) + 1.0
    return _ratio(float(np.sum(np.arange(1, len(ranks) + 1) / ranks)), num_positives)


def class_average_precisions(
    class_ids: NDArray[np.int32],
    values: NDArray[np.floating],
    hits: NDArray[np.bool_],
    *,
    positives: NDArray[np.integer],
    order: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return the average precision of each class's own ranking of pooled pairs.

    Args:
        class_ids: Class of each pair, shape `(n,)`.
        values: Its score.
        hits: Whether it is a positive.
        positives: Positives of each class, shape `(C,)`, also those outside the pool.
        order: `falling_order` of the values, if it is known.

    Returns:
        Shape `(C,)`, float64; `nan` for a class without positives.
    """
    if order is None:
        order = falling_order(values)
    order = mapped.take(order, order_by_class(mapped.take(class_ids, order)))
    class_ids, hits = mapped.take(class_ids, order), mapped.take(hits, order)
    del order
    starts = np.searchsorted(class_ids, np.arange(len(positives) + 1))
    hits_before = mapped.empty((len(hits) + 1,), np.int32)
    hits_before[0] = 0
    np.cumsum(hits, dtype=np.int32, out=hits_before[1:])
    at = np.flatnonzero(hits)
    start = starts[class_ids[at]]
    precisions = (hits_before[at + 1] - hits_before[start]) / (at - start + 1.0)
    sums = np.bincount(class_ids[at], weights=precisions, minlength=len(positives))
    averages: NDArray[np.float64] = np.full(len(positives), np.nan)
    np.divide(sums, positives, out=averages, where=positives > 0)
    return averages


def mean_over_occurring(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not nan; nan if all are."""
    return _ratio(float(np.nansum(values)), int(np.count_nonzero(~np.isnan(values))))


def sum_of_precisions(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_],
    *,
    num_labels: NDArray[np.integer],
    values: NDArray[np.floating],
    hits: NDArray[np.bool_],
) -> float:
    """Return the sum over videos whose mean is `precision_at_equal_recall_rate`.

    Args:
        scores: Confidences, shape `(N, C)`.
        labels: Ground truth, shape `(N, C)`.
        num_labels: Positives of each video, shape `(N,)`.
        values: Each video's highest scores in rising class order, shape `(N, K)`.
        hits: Whether they are positives.

    Returns:
        The sum in float64.
    """
    order = np.argsort(-values, axis=1, kind="stable")
    right = np.take_along_axis(hits & (values > 0), order, axis=1)
    found = np.cumsum(right, axis=1)
    inside = np.flatnonzero((num_labels > 0) & (num_labels <= values.shape[1]))
    counts = num_labels[inside]
    total = float(np.sum(found[inside, counts - 1] / counts))
    # Videos with more labels than were kept are few: select for each label count anew.
    for count in np.unique(num_labels[num_labels > values.shape[1]]).tolist():
        rows = np.flatnonzero(num_labels == count)
        best = top_k_classes(scores[rows], count)
        right = labels[rows[:, None], best] & (scores[rows[:, None], best] > 0)
        total += int(np.count_nonzero(right)) / count
    return total


def find_positives(
    labels: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and classes of all positives, as `np.nonzero` but in one flat pass.

    Args:
        labels: Ground truth, shape `(N, C)`.

    Returns:
        Rows, rising, and classes.
    """
    rows, classes = np.divmod(np.flatnonzero(labels), max(labels.shape[1], 1))
    return rows, classes


def _ratio(part: float, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
