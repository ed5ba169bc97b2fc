"""Run inference graphs over records.

Takes graphs and weights from whoever opened them; never decides where a model lies on disk.
"""

from yt8m_ensemble.inference.batching import (
    PooledVideos,
    default_batch_size,
    pool_batches,
    score_ahead,
)
from yt8m_ensemble.inference.runner import GraphRunner

__all__ = [
    "GraphRunner",
    "PooledVideos",
    "default_batch_size",
    "pool_batches",
    "score_ahead",
]
