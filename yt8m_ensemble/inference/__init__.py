"""Run inference graphs over records: scores and submission rows.

Takes graphs and weights from whoever opened them; never decides where a model lies on disk.
"""

from yt8m_ensemble.inference.pacing import (
    CondensedVideos,
    condense_batches,
    default_batch_size,
    score_ahead,
)
from yt8m_ensemble.inference.runner import GraphRunner
from yt8m_ensemble.inference.submission import SUBMISSION_HEADER, format_submission

__all__ = [
    "SUBMISSION_HEADER",
    "CondensedVideos",
    "GraphRunner",
    "condense_batches",
    "default_batch_size",
    "format_submission",
    "score_ahead",
]
