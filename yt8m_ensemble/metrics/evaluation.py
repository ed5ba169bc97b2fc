"""Evaluate a stream of scored batches: the metrics of the challenge and the training loss.

Never runs a model; whoever calls hands over scores.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.metrics.streaming import EvaluationMetrics, Metrics
from yt8m_ensemble.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LOSS_EPSILON = 1e-5
"""Added inside the logarithms (starter code, `losses.CrossEntropyLoss`)."""


@dataclass(frozen=True)
class Report:
    """Result of `evaluate`.

    Args:
        metrics: GAP, Hit@1, PERR and mAP with their counts.
        loss: Cross entropy summed over classes, mean over videos.
    """

    metrics: Metrics
    loss: float


def evaluate(
    batches: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]],
    *,
    num_classes: int,
    top_k: int = TOP_K,
    has_loss: bool = True,
) -> Report:
    """Evaluate scored batches.

    Args:
        batches: Pairs of scores and labels, each `(B, C)`; one is made while another is counted.
        num_classes: C.
        top_k: Pairs a video that GAP keeps.
        has_loss: Whether the scores are all that there are; of others the loss is nan.

    Returns:
        The metrics over all videos.
    """
    metrics = EvaluationMetrics(num_classes, top_k=top_k)

    def add(batch: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> float:
        metrics.update(*batch)
        return cross_entropy(*batch) if has_loss else float("nan")

    # One thread, for the batches arrive in their order; the next is made meanwhile.
    with ThreadPoolExecutor(1) as pool:
        loss = sum(map_in_order(pool, add, batches, ahead=1))
    result = metrics.result()
    return Report(result, loss / result.num_videos if result.num_videos else float("nan"))


def cross_entropy(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """Sum the cross entropy of all pairs of a batch.

        - sum of  y * log(p + 1e-5) + (1 - y) * log(1 - p + 1e-5)

    Args:
        scores: Shape `(B, C)`.
        labels: Shape `(B, C)`.

    Returns:
        The sum, accumulated in float64.

    Examples:
        >>> p, y = np.array([[0.5, 0.5]], np.float32), np.array([[True, False]])
        >>> round(cross_entropy(p, y), 4)  # -2 log(0.50001)
        1.3863
    """
    # Few pairs are positive: take all as negative, then put the positive ones right.
    negative = np.log(1 + LOSS_EPSILON - scores)
    positive = scores[labels]
    total = float(negative.sum(dtype=np.float64))
    total += float((np.log(positive + LOSS_EPSILON) - negative[labels]).sum(dtype=np.float64))
    return -total
