"""Search mixture weights that maximize exact GAP.

A method of the table `TUNERS` only asks for scores. `Search` remembers the best and the way there,
so that a search can be stopped at any point and still has a result.
"""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning.tuners import TUNERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from yt8m_ensemble.tuning.scoring import Scorer

NUM_THREADS = os.cpu_count() or 1
_BATCH = 64


@dataclass(frozen=True)
class SearchResult:
    """Hold what a search found.

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

    def __init__(self, scorer: Scorer, *, step: float, seed: int) -> None:
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
        found: list[float] = []
        remaining = map(_on_simplex, points)
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            # In batches, so that an interruption waits for one of them at most.
            while batch := list(itertools.islice(remaining, _BATCH)):
                scored = pool.map(self.scorer.gap, batch)
                found += [self._remember(p, g) for p, g in zip(batch, scored, strict=True)]
        return found

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


def search_weights(
    scorer: Scorer, *, method: str, step: float = 0.05, seed: int = 0
) -> SearchResult:
    """Search the weights of highest GAP with one of the `TUNERS`.

    Every method starts from the uniform mixture and the single members, so none ends below them.
    An interruption (Ctrl-C) ends the search with the best so far.

    Args:
        scorer: Scores mixtures.
        method: A key of `TUNERS`.
        step: Resolution of the weights that the method aims at.
        seed: Seed of the method's draws.

    Returns:
        The best weights and how they were found.

    Raises:
        UsageError: If the method is unknown, or the step is no fraction.
    """
    if method not in TUNERS:
        msg = f"There is no tuning method '{method}'; one of {', '.join(TUNERS)}."
        raise UsageError(msg, method=method)
    if not 0 < step <= 1:
        msg = f"The step of weights is {step:g}, expected a fraction above 0. Set `--step 0.05`."
        raise UsageError(msg, step=step)
    search = Search(scorer, step=step, seed=seed)
    try:
        search.gaps([search.best, *np.eye(search.num_members)])
        if search.num_members > 1:
            TUNERS[method](search)
    except KeyboardInterrupt:
        return search.result(was_interrupted=True)
    return search.result()


def _on_simplex(values: ArrayLike) -> NDArray[np.float64]:
    point = np.maximum(np.asarray(values, np.float64), 0)
    total = point.sum()
    return point / total if total > 0 else np.full(len(point), 1 / len(point))
