"""Search mixture weights that maximize exact GAP, by one of several methods.

A method of the table `TUNERS` only asks a `Search` for scores, which remembers the best.
scipy is loaded by the methods that need it, when they run.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.mixing import to_space
from yt8m_ensemble.threads import NUM_THREADS
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.search import Search, SearchResult
from yt8m_ensemble.tuning.surrogate import SmoothGap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates

MAX_GRID_POINTS = 200_000
MANY_VIDEOS = 50_000
"""Beyond these a search begins on a draw of the videos."""

_DRAWS = (MANY_VIDEOS // 2, 2 * MANY_VIDEOS)

_NUM_PICKS = 30
_REACH = 0.2


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
            "Choose a larger `yt8m-ens tune-weights --step`, or another method."
        )
        raise UsageError(msg, num_points=num_points)
    search.gaps(simplex_grid(search.num_members, num_steps))


def _coordinate(search: Search) -> None:
    _climb(search)


def _greedy(search: Search) -> None:
    # Forward selection with replacement (Caruana et al., ICML 2004): weights are counts of picks.
    counts = np.zeros(search.num_members)
    for _ in range(max(_NUM_PICKS, round(1 / search.step))):
        gaps = search.gaps(counts + one for one in np.eye(search.num_members))
        counts[int(np.argmax(gaps))] += 1


def _nelder_mead(search: Search) -> None:
    from scipy.optimize import minimize

    # An explicit simplex that reaches half the way to each member: scipy's own hardly moves.
    corners = (np.eye(search.num_members) + search.best) / 2
    minimize(
        lambda free: -search.gap([*free, 1 - free.sum()]),
        corners[0, :-1],
        method="Nelder-Mead",
        options={
            "initial_simplex": corners[:, :-1],
            "xatol": search.step / 50,
            "fatol": 1e-7,
            "maxfev": 100 * search.num_members,
        },
    )
    _climb(search)


def _powell(search: Search) -> None:
    from scipy.optimize import minimize

    minimize(
        lambda values: -search.gap(values),
        search.best,
        method="Powell",
        bounds=[(0, 1)] * search.num_members,
        options={"xtol": search.step / 50, "ftol": 1e-6, "maxfev": 200 * search.num_members},
    )
    _climb(search)


def _differential_evolution(search: Search) -> None:
    from scipy.optimize import differential_evolution

    def scored(population: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.array(search.gaps(population.T))

    differential_evolution(
        scored,
        [(0, 1)] * search.num_members,
        x0=search.best,
        rng=search.seed,
        popsize=6,
        maxiter=25,
        tol=1e-5,
        polish=False,
        vectorized=True,
        updating="deferred",
    )
    _climb(search)


def _temperature(search: Search) -> None:
    # Dividing logits by a temperature is weighing them by its inverse; a common factor moves no
    # rank. So calibration proposes weights without a look at GAP, and a short climb refines them.
    search.gap(1 / fit_temperatures(search.scorer.candidates))
    _climb(search)


def fit_temperatures(candidates: Candidates) -> NDArray[np.float64]:
    """Fit each member's temperature: the T that makes sigmoid(logit(p) / T) likeliest.

    Args:
        candidates: Members' scores with their labels; a draw of `MANY_VIDEOS` videos is enough.

    Returns:
        Temperatures, shape `(M,)`; above 1 for a member that is too sure of itself.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    candidates = candidates.draw(MANY_VIDEOS, seed=0)

    def fit(scores: NDArray[np.float32]) -> float:
        signed, losses = (mapped.empty(scores.shape, np.float32) for _ in range(2))
        for part in mapped.blocks(len(signed)):
            sign = np.where(candidates.hits[part], np.float32(1), np.float32(-1))
            signed[part] = to_space(scores[part], "logit") * sign

        def loss(log_temperature: float) -> float:
            np.multiply(signed, np.float32(-np.exp(-log_temperature)), out=losses)
            return float(np.mean(np.logaddexp(0, losses, out=losses)))

        return float(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return np.exp(list(pool.map(fit, candidates.scores)))


def _slsqp(search: Search) -> None:
    from scipy.optimize import minimize

    for _ in range(3):
        before, start = search.best_gap, search.best
        smooth = SmoothGap(search.scorer, start)
        found = minimize(
            lambda values, smooth=smooth: tuple(-part for part in smooth(values)),
            start,
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * search.num_members,
            constraints={
                "type": "eq",
                "fun": lambda values: values.sum() - 1,
                "jac": np.ones_like,
            },
            options={"maxiter": 50, "ftol": 1e-7},
        )
        # The smooth optimum may overshoot the pool that it was computed on: try the way there.
        search.gaps(start + part * (found.x - start) for part in (0.25, 0.5, 0.75, 1))
        if search.best_gap == before:
            break
    _climb(search)


def _climb(search: Search) -> None:
    # Between every two members. Exact GAP is a staircase full of small dips: the first moves reach
    # far, so that the methods that end here leave these.
    ones = np.eye(search.num_members)
    _move(search, [a - b for a, b in itertools.permutations(ones, 2)], _REACH)


def _move(search: Search, moves: Sequence[NDArray[np.float64]], reach: float) -> None:
    # From the best so far, move weight, then half as much. After a round of moves one at a time,
    # all that helped are tried at once.
    while reach >= search.step / 20:
        start, before = search.best, search.best_gap
        gaps = np.array(search.gaps(start + reach * move for move in moves))
        if search.best_gap == before:
            reach /= 2
        else:
            gains = np.maximum(gaps - before, 0)
            search.gap(start + reach * np.tensordot(gains / gains.max(), moves, 1))


TUNERS: Mapping[str, Callable[[Search], None]] = {
    "grid": _grid,
    "coordinate": _coordinate,
    "greedy": _greedy,
    "nelder-mead": _nelder_mead,
    "powell": _powell,
    "slsqp": _slsqp,
    "differential-evolution": _differential_evolution,
    "temperature": _temperature,
}
"""Search methods by their names on the command line."""


def search_weights(
    scorer: Scorer, *, method: str, step: float = 0.05, seed: int = 0
) -> SearchResult:
    """Search the weights of highest GAP with one of the `TUNERS`.

    Every method starts from the uniform mixture and the single members, so none ends below them.
    With more than `MANY_VIDEOS` videos, a method other than `grid` searches on a draw of half as
    many. Where it ends, a climb begins on a draw of twice as many, and where that ends one on all,
    each in smaller steps, because more videos leave less about the weights undecided.
    An interruption (Ctrl-C) ends the search with the best so far.

    Args:
        scorer: Scores mixtures.
        method: A key of `TUNERS`.
        step: Resolution of the weights that the method aims at.
        seed: Seed of the method's draws.

    Returns:
        The best weights and how they were found; their GAP is that of all videos.

    Raises:
        UsageError: If the method is unknown, or the step is no fraction.
    """
    if method not in TUNERS:
        msg = f"There is no tuning method '{method}'; one of {', '.join(TUNERS)}."
        raise UsageError(msg, method=method)
    if not 0 < step <= 1:
        msg = (
            f"The step of weights is {step:g}, expected a fraction above 0 and at most 1, such as "
            "`yt8m-ens tune-weights --step 0.05`."
        )
        raise UsageError(msg, step=step)
    search = Search(scorer, step=step, seed=seed)
    try:
        search.gaps([search.best, *np.eye(search.num_members)])
        if search.num_members == 1:
            return search.result()
        if method == "grid" or scorer.candidates.num_videos <= MANY_VIDEOS:
            TUNERS[method](search)
        else:
            _search_draws(search, TUNERS[method])
    except KeyboardInterrupt:
        return search.result(was_interrupted=True)
    return search.result()


def _search_draws(search: Search, method: Callable[[Search], None]) -> None:
    scorer, step = search.scorer, search.step
    draws = (scorer.candidates.draw(size, seed=search.seed) for size in _DRAWS)
    few, more = (Search(Scorer(drawn, scorer.space), step, search.seed) for drawn in draws)
    try:
        few.gaps([few.best, *np.eye(few.num_members)])
        method(few)
        more.gap(few.best)
        # The stairs of so many videos are low: one member against all others is enough.
        ones = np.eye(search.num_members)
        moves = [*ones, *-ones]
        _move(more, moves, step / 4)
        search.gap(more.best)
        _move(search, moves, step / 16)
    except KeyboardInterrupt:
        search.gap(more.best if more.num_evaluations else few.best)
        raise
    finally:
        search.num_evaluations += few.num_evaluations + more.num_evaluations
