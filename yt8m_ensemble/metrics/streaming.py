"""Metrics over shards: `update` with batches, `merge` across processes, `result` once.

Kept pairs take 9 bytes each, `top_k` a video, in unnamed files once there are many; nothing grows
with videos times classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.errors import ShapeError
from yt8m_ensemble.mapped import Growing
from yt8m_ensemble.metrics.ranking import (
    average_precision,
    check_same_shape,
    class_average_precisions,
    find_positives,
    mean_over_occurring,
    sum_of_precisions,
)
from yt8m_ensemble.metrics.selection import falling_order, top_k_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions.

    Args:
        gap: Global average precision over the kept pairs.
        hit_at_one: Fraction of videos whose best class is a positive.
        perr: Precision at equal recall rate.
        mean_average_precision: Over the classes that occur, as the 2019 evaluator.
        mean_average_precision_all_classes: Over all classes, absent ones as 0, as in 2018.
        num_videos: Videos scored.
        num_positives: Positive labels in all.
        num_classes_occurring: Classes with at least one positive.
        top_k: Pairs kept per video.
    """

    gap: float
    hit_at_one: float
    perr: float
    mean_average_precision: float
    mean_average_precision_all_classes: float
    num_videos: int
    num_positives: int
    num_classes_occurring: int
    top_k: int


class EvaluationMetrics:
    """Gather GAP, Hit@1, PERR and mAP batch by batch.

    Equal scores rank in the order of arrival; within a batch in (video, class) order. The result
    does not depend on how the videos are cut into batches.

    Args:
        num_classes: Classes `C` of every batch.
        top_k: Pairs kept per video for GAP and mAP.

    Examples:
        >>> metrics = EvaluationMetrics(2)
        >>> metrics.update(np.array([[0.9, 0.1]], np.float32), np.array([[True, True]]))
        >>> metrics.update(np.array([[0.8, 0.4]], np.float32), np.array([[False, True]]))
        >>> round(metrics.result().gap, 4)  # (1/1 + 2/3 + 3/4) / 3
        0.8056
    """

    def __init__(self, num_classes: int, top_k: int = TOP_K) -> None:
        self._num_classes = num_classes
        self._top_k = top_k
        # Class, score, and whether it is a positive.
        self._pairs = Growing(), Growing(), Growing()
        for gathered, dtype in zip(self._pairs, (np.int32, np.float32, np.bool_), strict=True):
            gathered.append(np.zeros(0, dtype))
        self._positives = np.zeros(num_classes, np.int64)
        self._num_videos = 0
        self._num_best_hits = 0
        self._sum_precisions = 0.0

    @property
    def num_videos(self) -> int:
        """Videos seen so far."""
        return self._num_videos

    def update(self, scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
        """Add a batch of videos.

        Args:
            scores: Confidences, shape `(B, C)`, float32.
            labels: Ground truth, shape `(B, C)`, bool.

        Raises:
            ShapeError: If the shapes differ from each other or from `num_classes`.
            UsageError: If `top_k` is below 1.
            PredictionsError: If a score is nan.
        """
        check_same_shape(scores, labels)
        if scores.shape[1] != self._num_classes:
            msg = f"Scores have {scores.shape[1]} classes, expected {self._num_classes}."
            raise ShapeError(msg, found=scores.shape[1], expected=self._num_classes)
        classes = top_k_classes(scores, self._top_k)
        values = np.take_along_axis(scores, classes, axis=1)
        hits = np.take_along_axis(labels, classes, axis=1)
        for gathered, part in zip(self._pairs, (classes, values, hits), strict=True):
            gathered.append(part.ravel())
        rows, positives = find_positives(labels)
        self._positives += np.bincount(positives, minlength=self._num_classes)
        self._num_videos += len(scores)
        # The first maximum of a row in class order is its best class by the tie rule.
        best = np.argmax(values, axis=1)[:, None] if len(values) else np.zeros((0, 1), np.int64)
        self._num_best_hits += int(np.count_nonzero(np.take_along_axis(hits, best, axis=1)))
        num_labels = np.bincount(rows, minlength=len(scores))
        self._sum_precisions += sum_of_precisions(
            scores, labels, num_labels=num_labels, values=values, hits=hits
        )

    def merge(self, other: EvaluationMetrics) -> None:
        """Add the videos that another instance has seen, after this one's.

        Args:
            other: Metrics of other videos with the same `num_classes` and `top_k`.

        Raises:
            ShapeError: If either differs.
        """
        mine, theirs = (self._num_classes, self._top_k), (other._num_classes, other._top_k)
        if mine != theirs:
            msg = (
                f"Cannot merge metrics of {theirs[0]} classes, top {theirs[1]}, "
                f"into metrics of {mine[0]} classes, top {mine[1]}."
            )
            raise ShapeError(msg, mine=mine, theirs=theirs)
        for gathered, others in zip(self._pairs, other._pairs, strict=True):
            gathered.append(others.all())
        self._positives += other._positives
        self._num_videos += other._num_videos
        self._num_best_hits += other._num_best_hits
        self._sum_precisions += other._sum_precisions

    def result(self) -> Metrics:
        """Return the metrics of everything seen; every fraction is nan if nothing was."""
        class_ids, values, hits = (gathered.all() for gathered in self._pairs)
        num_positives = int(self._positives.sum())
        order = falling_order(values)
        by_class = class_average_precisions(
            class_ids, values, hits, positives=self._positives, order=order
        )
        videos = self._num_videos or float("nan")
        return Metrics(
            gap=average_precision(hits[order], num_positives),
            hit_at_one=self._num_best_hits / videos,
            perr=self._sum_precisions / videos,
            mean_average_precision=mean_over_occurring(by_class),
            mean_average_precision_all_classes=float(np.mean(np.nan_to_num(by_class))),
            num_videos=self._num_videos,
            num_positives=num_positives,
            num_classes_occurring=int(np.count_nonzero(self._positives)),
            top_k=self._top_k,
        )
