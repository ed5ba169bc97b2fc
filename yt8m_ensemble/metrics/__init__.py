"""Metrics of the YouTube-8M challenges, one-shot and streaming.

Needs numpy at import; numba is loaded when something is ranked.
"""

from yt8m_ensemble.metrics.evaluation import Report, evaluate
from yt8m_ensemble.metrics.ranking import (
    average_precisions,
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    mean_average_precision_all_classes,
    precision_and_recall,
    precision_at_equal_recall_rate,
)
from yt8m_ensemble.metrics.selection import top_k_classes
from yt8m_ensemble.metrics.streaming import EvaluationMetrics, Metrics
from yt8m_ensemble.metrics.ties import gap_tie_bounds

__all__ = [
    "EvaluationMetrics",
    "Metrics",
    "Report",
    "average_precisions",
    "evaluate",
    "gap_tie_bounds",
    "global_average_precision",
    "hit_at_one",
    "mean_average_precision",
    "mean_average_precision_all_classes",
    "precision_and_recall",
    "precision_at_equal_recall_rate",
    "top_k_classes",
]
