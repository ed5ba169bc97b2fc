"""Choose mixture weights on validation videos against exact GAP, and say what the gain is worth.

Needs numpy at import; scipy and numba are loaded when a search starts.
"""

from yt8m_ensemble.tuning.candidates import Candidates, collect_candidates
from yt8m_ensemble.tuning.class_bias import rank_exactly
from yt8m_ensemble.tuning.results import Gain, HeldOutResult, TuneResult, describe_overlap
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.search import SearchResult
from yt8m_ensemble.tuning.splits import split_videos
from yt8m_ensemble.tuning.top_k_bounds import bound_gap, check_kept, collect_top_k, rank_top_k
from yt8m_ensemble.tuning.tuners import TUNERS, search_weights
from yt8m_ensemble.tuning.validation import TuneSettings, judge, tune

__all__ = [
    "TUNERS",
    "Candidates",
    "Gain",
    "HeldOutResult",
    "Scorer",
    "SearchResult",
    "TuneResult",
    "TuneSettings",
    "bound_gap",
    "check_kept",
    "collect_candidates",
    "collect_top_k",
    "describe_overlap",
    "judge",
    "rank_exactly",
    "rank_top_k",
    "search_weights",
    "split_videos",
    "tune",
]
