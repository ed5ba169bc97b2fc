"""Choose mixture weights on validation videos against exact GAP, and say what the gain is worth.

Needs numpy at import; scipy and numba are loaded when a search starts.
"""

from yt8m_ensemble.tuning.candidates import Candidates, collect_candidates
from yt8m_ensemble.tuning.judging import Gain, Judgement, TuneResult, judge, split_videos, tune
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.search import Found, search_weights
from yt8m_ensemble.tuning.truncated import Truncated, check_kept, collect_truncated
from yt8m_ensemble.tuning.tuners import TUNERS

__all__ = [
    "TUNERS",
    "Candidates",
    "Found",
    "Gain",
    "Judgement",
    "Scorer",
    "Truncated",
    "TuneResult",
    "check_kept",
    "collect_candidates",
    "collect_truncated",
    "judge",
    "search_weights",
    "split_videos",
    "tune",
]
