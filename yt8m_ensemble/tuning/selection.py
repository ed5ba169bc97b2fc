"""Choose members, and their precision, under a byte budget by exact GAP.

The set is searched by GAP of its uniform mean, which has nothing fitted; its weights are then tuned
like any others. Works on candidates and sizes; knows neither checkpoints nor files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.splits import split_videos
from yt8m_ensemble.tuning.subset_search import Limits, Proof, search_subsets
from yt8m_ensemble.tuning.validation import TuneSettings, check_labeled, tune
from yt8m_ensemble.tuning.variants import Variant, drop_larger_copies
from yt8m_ensemble.values import Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.tuning.results import TuneResult
    from yt8m_ensemble.tuning.subset_search import Set

_FOLDS = 3
_STEP = 0.1


@dataclass(frozen=True)
class Choice:
    """One set of members, averaged uniformly.

    Args:
        variants: What is in it.
        size_bytes: What it adds to the bundle in all.
        gap_in_sample: GAP of the uniform mean on the videos to select on.
        gap_held_out: The same on videos that the selection did not see.
    """

    variants: tuple[Variant, ...]
    size_bytes: int
    gap_in_sample: float
    gap_held_out: float


@dataclass(frozen=True)
class Selection:
    """The best set under the budget, and the best sets of more and of fewer bytes.

    Args:
        chosen: The set of highest GAP in sample within the budget.
        tuned: Its mixture: weights that are better out of fold than the uniform mean, or that mean.
        frontier: Of the sets that the search scored, those that no smaller one matches in GAP, by
            rising size.
        proof: Whether `chosen` is the best of all sets in sample, or how much another can gain.
    """

    chosen: Choice
    tuned: TuneResult
    frontier: tuple[Choice, ...]
    proof: Proof


def select_members(
    candidates: Candidates,
    video_ids: NDArray[np.bytes_],
    variants: Sequence[Variant],
    *,
    limits: Limits,
    space: Space,
    holdout: float = 0.5,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Selection:
    """Choose the variants whose uniform mean has the highest GAP in sample within a budget.

    Args:
        candidates: Of all videos and every column that a variant names.
        video_ids: Shape `(N,)`, bytes.
        variants: What there is to choose from.
        limits: The budget, and the time to search.
        space: Mixing space.
        holdout: Share of videos that only judge.
        seed: Seed of split and folds.
        progress: Called with the number of sets scored.

    Returns:
        The choice with its weights, and the frontier of GAP against bytes.

    Raises:
        PredictionsError: If no video has a label.
        UsageError: If not even the smallest variant fits the budget.
    """
    smallest = min(variants, key=lambda variant: variant.size_bytes)
    if smallest.size_bytes > limits.max_bytes:
        msg = (
            f"Not even '{smallest.name}' with {smallest.size_bytes:,} bytes fits into "
            f"{limits.max_bytes:,.0f} bytes. Raise `--max-size`, or allow a smaller precision."
        )
        raise UsageError(msg, smallest=smallest.name, size_bytes=smallest.size_bytes)
    inner, outer = split_videos(video_ids, fraction=holdout, seed=seed)
    seen = candidates.select(inner)
    check_labeled(seen)
    found = search_subsets(
        seen, drop_larger_copies(variants), space=space, limits=limits, progress=progress
    )
    judged = Scorer(candidates.select(outer) if len(outer) else seen, space)
    frontier = tuple(_choice(chosen, gap, judged) for chosen, gap in _frontier(found.gaps))
    chosen = _choice(found.best, found.gaps[found.best], judged)
    settings = TuneSettings(
        space=space, method="coordinate", step=_STEP, holdout=holdout, folds=_FOLDS, seed=seed
    )
    part = candidates.select_members([variant.column for variant in chosen.variants])
    names = tuple(variant.name for variant in chosen.variants)
    tuned = tune(replace(part, names=names), video_ids, settings, progress=progress)
    return Selection(chosen, tuned, frontier, found.proof)


def _choice(chosen: Set, gap: float, judged: Scorer) -> Choice:
    variants = tuple(sorted(chosen, key=lambda variant: variant.column))
    weights = np.zeros(len(judged.linked))
    weights[[variant.column for variant in variants]] = 1 / len(variants)
    size = sum(variant.size_bytes for variant in variants)
    return Choice(variants, size, gap, judged.gap(weights))


def _frontier(gaps: Mapping[Set, float]) -> list[tuple[Set, float]]:
    """Return the sets that no smaller set matches in GAP."""
    frontier: list[tuple[Set, float]] = []
    sizes = {chosen: sum(variant.size_bytes for variant in chosen) for chosen in gaps}
    for chosen in sorted(gaps, key=lambda chosen: (sizes[chosen], -gaps[chosen])):
        if not frontier or gaps[chosen] > frontier[-1][1]:
            frontier.append((chosen, gaps[chosen]))
    return frontier
