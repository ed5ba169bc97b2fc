"""Score mixtures exactly and fast: GAP of any weights, and of bootstrap resamples of the videos."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.mixing import to_space
from yt8m_ensemble.threads import NUM_THREADS, shared_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.values import Space


_T = TypeVar("_T")

_VIDEOS_FOR_THREADS = 4_000  # fewer are scored sooner than threads wake up

_LAST = np.uint64(2**64 - 1)
"""Ranks after every pair."""

_POOLS = threading.local()
"""Room for the ranked pairs of a mixture, for every thread one."""


class Scorer:
    """Score mixtures of one set of candidates in one mixing space.

    Scores are compared before the way back from the space, which rises and so keeps their order.
    Usable from several threads at once: the loops run without Python's lock.

    Args:
        candidates: What to mix.
        space: Where to mix.
    """

    def __init__(self, candidates: Candidates, space: Space) -> None:
        self.candidates = candidates
        self.space = space
        self.linked = _linked(candidates.scores, space)
        self._buffers = threading.local()

    def gap(self, values: ArrayLike, *, num_threads: int = NUM_THREADS) -> float:
        """Return the exact global average precision of a mixture.

        Args:
            values: Weights, shape `(M,)`; any positive scale, since only the order counts.
            num_threads: Threads to score on; no number changes a digit.

        Returns:
            A fraction in `[0, 1]`; `nan` without positives. What
            `metrics.global_average_precision` gives for the mixed dense scores.
        """
        return self._rank(values, self.linked, num_threads)[1]

    def gap_of(self, mixed: NDArray[np.float32], *, num_threads: int = NUM_THREADS) -> float:
        """Return the exact global average precision of scores mixed by any other means.

        Args:
            mixed: One score for each candidate, shape `(n,)`, float32.
            num_threads: As in `gap`.
        """
        return self._rank([1], mixed[None], num_threads)[1]

    def pool(self, values: ArrayLike) -> NDArray[np.int32]:
        """Return the candidates that a mixture pools, best first.

        Args:
            values: Weights, shape `(M,)`.

        Returns:
            Their places among the candidates, at most `top_k` a video.
        """
        return _places(self._rank(values, self.linked)[0])

    def pool_of(self, mixed: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the candidates that scores mixed by any other means pool, best first.

        Args:
            mixed: One score for each candidate, shape `(n,)`, float32.

        Returns:
            Their places among the candidates, at most `top_k` a video.
        """
        return _places(self._rank([1], mixed[None])[0])

    def ranking(self, values: ArrayLike) -> Ranking:
        """Return a mixture's pooled pairs, best first.

        Args:
            values: Weights, shape `(M,)`.
        """
        return self._ranking(*self._rank(values, self.linked))

    def ranking_of(self, mixed: NDArray[np.float32]) -> Ranking:
        """Return the pooled pairs of scores mixed by any other means, best first.

        Args:
            mixed: One score for each candidate, shape `(n,)`, float32.
        """
        return self._ranking(*self._rank([1], mixed[None]))

    def _ranking(self, ranked: NDArray[np.uint64], gap: float) -> Ranking:
        held = self.candidates
        videos, hits = (mapped.empty(ranked.shape, dtype) for dtype in (np.int32, np.bool_))
        for part in mapped.blocks(len(ranked)):
            places = _places(ranked[part])
            videos[part], hits[part] = self._owners[places], held.hits[places]
        # It waits for others to be compared with.
        mapped.release(videos, hits)
        return Ranking(gap, videos, hits, held.positives)

    @cached_property
    def _owners(self) -> NDArray[np.int32]:
        return self.candidates.owners()

    def _rank(
        self, values: ArrayLike, linked: NDArray[np.float32], num_threads: int = NUM_THREADS
    ) -> tuple[NDArray[np.uint64], float]:
        """Return a mixture's pooled pairs, best first, and its GAP."""
        if self.candidates.num_videos < _VIDEOS_FOR_THREADS:
            num_threads = 1
        pool, count = self._fill(np.asarray(values, np.float32), linked, num_threads)
        total = _sort(pool, count, num_threads)
        return pool[:count], _ratio(total, self.candidates.num_positives)

    def _fill(
        self, weights: NDArray[np.float32], linked: NDArray[np.float32], num_threads: int
    ) -> tuple[NDArray[np.uint64], int]:
        """Return a mixture's pooled pairs, unsorted and with room that ranks last, and how many."""
        from yt8m_ensemble.tuning import kernels

        held = self.candidates
        if not hasattr(self._buffers, "guesses"):
            self._buffers.guesses = np.zeros(held.num_videos, np.int32)
        guesses: NDArray[np.int32] = self._buffers.guesses
        shares = np.linspace(0, len(held.class_ids), num_threads + 1).astype(np.int64)
        bounds = np.searchsorted(held.indptr, shares)
        bounds[-1] = held.num_videos
        # Every part ends with one place more, where pairs are written that are not kept.
        starts = held.top_k * bounds + np.arange(num_threads + 1)
        pool = _room(int(starts[-1]))[: starts[-1]]

        def fill(part: int) -> int:
            first, last = bounds[part : part + 2]
            own = pool[starts[part] : starts[part + 1]]
            indptr = held.indptr[first : last + 1]
            edges = np.append(indptr[: -1 : kernels.CHUNK], indptr[-1])
            mixed = np.empty(np.diff(edges).max(initial=0), np.float32)
            count: int = kernels.fill_pool(
                indptr,
                linked,
                weights,
                held.hits,
                held.top_k,
                guesses[first:last],
                mixed,
                mixed.view(np.int32),
                own,
            )
            own[count:] = _LAST
            return count

        return pool, sum(_on_threads(fill, num_threads))


@dataclass(frozen=True)
class Ranking:
    """Pooled pairs of a mixture, best first, to score resamples of its videos.

    Args:
        gap: GAP of the mixture.
        videos: Video of each pair, int32.
        hits: Whether it is a positive.
        positives: Positive labels of each video.
    """

    gap: float
    videos: NDArray[np.int32]
    hits: NDArray[np.bool_]
    positives: NDArray[np.int64]

    def resampled_precisions(self, copies: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return the sums of the precisions at the hits' ranks over resamples of the videos.

        Args:
            copies: How often each video occurs in each resample, shape `(N, kernels.LANES)`, uint8,
                as words: shape `(N, kernels.LANES / 8)`, uint64.

        Returns:
            Shape `(kernels.LANES,)`, float64.
        """
        from yt8m_ensemble.tuning import kernels

        sums = np.empty(kernels.LANES)
        words = np.empty((kernels.PAIRS, copies.shape[1]), np.uint64)
        counts = np.empty((2, kernels.LANES), np.int32)
        kernels.sum_resampled_precisions(
            self.videos, self.hits, copies, words, words.view(np.uint8), counts, sums
        )
        return sums


def paired_differences(
    rankings: Sequence[Ranking], *, num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return GAPs of several mixtures over the same bootstrap resamples of the videos.

    Args:
        rankings: Of the mixtures, all over the same videos in one order.
        num_resamples: Resamples `R`.
        seed: Seed of the draws.

    Returns:
        Shape `(number of mixtures, R)`, float64; `nan` where a resample has no positive.
        Differences between rows are paired.
    """
    from yt8m_ensemble.tuning.kernels import LANES

    rng = np.random.default_rng(seed)
    gaps = np.full((len(rankings), num_resamples), np.nan)

    def score(
        row: int, own: slice, copies: NDArray[np.uint64], num_positives: NDArray[Any]
    ) -> None:
        sums = rankings[row].resampled_precisions(copies)[: len(num_positives)]
        np.divide(sums, num_positives, out=gaps[row, own], where=num_positives > 0)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        waiting: deque[Future[None]] = deque()
        for start in range(0, num_resamples, LANES):
            own = slice(start, min(start + LANES, num_resamples))
            drawn = _draw(rng, rankings[0].positives, own.stop - own.start)
            waiting += [pool.submit(score, row, own, *drawn) for row in range(len(rankings))]
            # Draws are quicker than scores: those that wait must not pile up in memory.
            while len(waiting) > len(rankings):
                waiting.popleft().result()
        for left in waiting:
            left.result()
    for ranking in rankings:
        mapped.release(ranking.videos, ranking.hits)
    return gaps


def _draw(
    rng: np.random.Generator, positives: NDArray[np.int64], num_resamples: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Draw resamples of the videos.

    Args:
        rng: Draws.
        positives: Positive labels of each video, shape `(N,)`.
        num_resamples: Up to `kernels.LANES`.

    Returns:
        Copies as `Ranking.resampled_precisions` takes them, and the positives of each resample.
    """
    from yt8m_ensemble.tuning import kernels

    num_videos = len(positives)
    copies = mapped.empty((num_videos, kernels.LANES), np.uint8)
    # That one of over 255 videos is drawn over 255 times has a chance below 1e-500.
    counts = mapped.empty((kernels.LANES, num_videos), np.uint8)
    counts[:] = 0
    num_positives = np.empty(num_resamples, np.int64)
    for resample in range(num_resamples):
        drawn = rng.integers(num_videos, size=num_videos)
        kernels.count_draws(drawn, counts[resample])
        num_positives[resample] = positives @ counts[resample]
    for part in mapped.blocks(num_videos):
        copies[part] = counts[:, part].T
    return copies.view(np.uint64), num_positives


def _linked(scores: NDArray[np.float32], space: Space) -> NDArray[np.float32]:
    """Return the members' scores in a space."""
    if space == "probability":
        return to_space(scores, space)
    linked = mapped.empty(scores.shape, np.float32)
    for member, found in zip(scores, linked, strict=True):
        for part in mapped.blocks(len(member)):
            found[part] = to_space(member[part], space)
        mapped.release(scores)
    return linked


def _sort(pool: NDArray[np.uint64], count: int, num_threads: int) -> float:
    """Sort pooled pairs, ranks divided among threads.

    Args:
        pool: The pairs, and room that ranks last; sorted in place.
        count: Pairs.
        num_threads: Threads.

    Returns:
        The sum of the precisions at the hits' ranks.
    """
    from yt8m_ensemble.tuning import kernels

    sums = np.zeros((-(-count // kernels.RANKS), 3))
    edges = np.linspace(0, len(sums), num_threads + 1).astype(np.int64)
    starts = edges * kernels.RANKS
    starts[-1] = len(pool)
    pool.partition(starts[1:-1])

    def sort(part: int) -> None:
        first, last = starts[part : part + 2]
        # Vectorized, numpy's sort of whole numbers beats a compiled radix sort of the keys alone.
        pool[first:last].sort()
        own = sums[edges[part] : edges[part + 1]]
        kernels.sum_precisions(pool[first : min(last, count)], first, own)

    _on_threads(sort, num_threads)
    inverse, precise, hits = sums.T
    return float(np.sum((np.cumsum(hits) - hits) * inverse + precise))


def _on_threads(task: Callable[[int], _T], num_threads: int) -> list[_T]:
    """Return the results of a task for the numbers from 0 on, each on a thread of its own."""
    others = [shared_pool().submit(task, number) for number in range(1, num_threads)]
    try:
        return [task(0), *(other.result() for other in others)]
    finally:
        # Whoever is interrupted here may score again: nobody must still write into the room.
        wait(others)


def _room(length: int) -> NDArray[np.uint64]:
    """Return room of this thread for so many ranked pairs; the next call takes it again."""
    if not hasattr(_POOLS, "pool") or len(_POOLS.pool) < length:
        _POOLS.pool = mapped.empty((length,), np.uint64)
    room: NDArray[np.uint64] = _POOLS.pool
    return room


def _places(ranked: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the candidates of ranked pairs."""
    places = mapped.empty(ranked.shape, np.int32)
    for part in mapped.blocks(len(ranked)):
        places[part] = (ranked[part] & np.uint64(0xFFFFFFFF)) >> np.uint64(1)
    return places


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
