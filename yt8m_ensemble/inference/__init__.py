"""Run inference graphs over records: scores and submission rows.

Takes graphs and weights from whoever opened them; never decides where a model lies on disk.
"""

from yt8m_ensemble.inference.batching import (
    PooledVideos,
    default_batch_size,
    pool_batches,
    score_ahead,
)
from yt8m_ensemble.inference.runner import GraphRunner
from yt8m_ensemble.inference.submission import SUBMISSION_HEADER, format_submission

__all__ = [
    "SUBMISSION_HEADER",
    "GraphRunner",
    "PooledVideos",
    "default_batch_size",
    "format_submission",
    "pool_batches",
    "score_ahead",
]
