"""Search mixture weights that maximize exact GAP; one interface, one table of methods.

A method only asks for scores. `Search` remembers the best and the way there, so that a search can
be stopped at any point and still has a result.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from yt8m_ensemble.tuning.scoring import Scorer

NUM_THREADS = 2
MAX_GRID_POINTS = 2_000_000
_BATCH = 64


@dataclass(frozen=True)
class Found:
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

    def result(self, *, was_interrupted: bool = False) -> Found:
        """Return the best so far."""
        return Found(
            self.best, self.best_gap, self.num_evaluations, tuple(self.trace), was_interrupted
        )

    def _remember(self, point: NDArray[np.float64], gap: float) -> float:
        self.num_evaluations += 1
        if gap > self.best_gap:
            self.best, self.best_gap = point, gap
            self.trace.append((self.num_evaluations, gap))
        return gap


def search_weights(scorer: Scorer, *, method: str, step: float = 0.05, seed: int = 0) -> Found:
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


def simplex_grid(num_members: int, num_steps: int) -> Iterator[tuple[float, ...]]:
    """Yield every way to divide `num_steps` equal parts among the members, as fractions.

    Args:
        num_members: Members.
        num_steps: Parts, e.g. 20 for a step of 0.05.

    Yields:
        Weights that sum to one.

    Examples:
        >>> list(simplex_grid(2, 2))
        [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """
    # Stars and bars: the places of the bars among the parts.
    for bars in itertools.combinations(range(num_steps + num_members - 1), num_members - 1):
        edges = (-1, *bars, num_steps + num_members - 1)
        yield tuple((b - a - 1) / num_steps for a, b in itertools.pairwise(edges))


def _grid(search: Search) -> None:
    num_steps = round(1 / search.step)
    num_points = math.comb(num_steps + search.num_members - 1, search.num_members - 1)
    if num_points > MAX_GRID_POINTS:
        msg = (
            f"A grid of step {search.step:g} over {search.num_members} members has {num_points:,} "
            f"points, the limit is {MAX_GRID_POINTS:,}. "
            "Choose a larger `--step`, or another `--method`."
        )
        raise UsageError(msg, num_points=num_points)
    search.gaps(simplex_grid(search.num_members, num_steps))


def _nelder_mead(search: Search) -> None:
    from scipy.optimize import minimize

    # An explicit simplex spanning half the way to each member: scipy's own is too small to move.
    corners = (np.eye(search.num_members) + search.best) / 2
    minimize(
        lambda free: -search.gap([*free, 1 - free.sum()]),
        corners[0, :-1],
        method="Nelder-Mead",
        options={
            "initial_simplex": corners[:, :-1],
            "xatol": search.step / 10,
            "fatol": 1e-7,
            "maxfev": 100 * search.num_members,
        },
    )


TUNERS: Mapping[str, Callable[[Search], None]] = {
    "grid": _grid,
    "nelder-mead": _nelder_mead,
}
"""Search methods by their names on the command line."""


def _on_simplex(values: ArrayLike) -> NDArray[np.float64]:
    point = np.maximum(np.asarray(values, np.float64), 0)
    total = point.sum()
    return point / total if total > 0 else np.full(len(point), 1 / len(point))
