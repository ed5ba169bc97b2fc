"""The state of one search for mixture weights: mixtures scored by exact GAP, the best remembered.

Knows no method: `tuners` holds these. A search can be stopped at any point and still has a result.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.threads import NUM_THREADS, map_in_order, shared_pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from yt8m_ensemble.tuning.scoring import Scorer


@dataclass(frozen=True)
class SearchResult:
    """Result of a search for mixture weights.

    Args:
        values: The best weights, shape `(M,)`, float64, summing to 1.
        gap: Their exact GAP on the videos searched on.
        num_evaluations: Mixtures scored.
        trace: Each improvement as (mixtures scored so far, GAP).
        was_interrupted: Whether the search was stopped before its end.
    """

    values: NDArray[np.float64]
    gap: float
    num_evaluations: int
    trace: tuple[tuple[int, float], ...]
    was_interrupted: bool = False


class Search:
    """Score mixtures for a method and remember the best.

    Args:
        scorer: Scores mixtures of `M` members in one space.
        step: Resolution of the weights that the method aims at.
        seed: Seed of the method's draws.
    """

    def __init__(self, scorer: Scorer, step: float, seed: int) -> None:
        self.scorer = scorer
        self.num_members = len(scorer.candidates.names)
        self.step = step
        self.seed = seed
        self.best = np.full(self.num_members, 1 / self.num_members)
        self.best_gap = -math.inf
        self.num_evaluations = 0
        self.trace: list[tuple[int, float]] = []

    def gap(self, values: ArrayLike) -> float:
        """Return the GAP of weights, scaled to sum to one; negative parts count as zero."""
        point = _on_simplex(values)
        return self._remember(point, self.scorer.gap(point))

    def gaps(self, points: Iterable[ArrayLike]) -> list[float]:
        """Return the GAP of many weights, scored by several threads."""
        score = partial(self.scorer.gap, num_threads=1)
        given, scored = itertools.tee(map(_on_simplex, points))
        found = map_in_order(shared_pool(), score, scored, ahead=NUM_THREADS)
        return [self._remember(point, gap) for gap, point in zip(found, given, strict=True)]

    def result(self, *, was_interrupted: bool = False) -> SearchResult:
        """Return the best so far."""
        return SearchResult(
            self.best, self.best_gap, self.num_evaluations, tuple(self.trace), was_interrupted
        )

    def _remember(self, point: NDArray[np.float64], gap: float) -> float:
        self.num_evaluations += 1
        if gap > self.best_gap:
            self.best, self.best_gap = point, gap
            self.trace.append((self.num_evaluations, gap))
        return gap


def _on_simplex(values: ArrayLike) -> NDArray[np.float64]:
    point = np.maximum(np.asarray(values, np.float64), 0)
    total = point.sum()
    return point / total if total > 0 else np.full(len(point), 1 / len(point))
