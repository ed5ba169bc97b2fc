"""Search the set of members, each in one precision, whose uniform mean has the highest GAP.

Branch and bound: sets are extended member by member, then precision by precision, and whatever
cannot beat the best set so far is left out with all its extensions.

Why a bound holds: GAP does not fall where fewer misses are pooled, or where they are replaced by
lower ones, nor where more hits are. So the pairs that a bound looks at are fixed beforehand: all
hits of a video, and as many of its misses as then make up a top 20. The misses that a mixture
really pools are at least as many and as high. (Those are taken that the best set found greedily
ranks highest: near it the bound is tight.)

Complete a part of a set of `k` members in any way. The mean of a pair is then at most what its
part adds, plus the highest scores of as many members as are missing, over `k`; and at least the
same with the lowest scores. Every hit is moved to the upper end and every miss to the lower, which
does not lower GAP either. A constant taken from all scores of a member moves no rank, so members
are centered first, which brings the ends closer together.
"""

from __future__ import annotations

import functools
import heapq
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import mapped
from yt8m_ensemble.threads import NUM_THREADS
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.values import Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.tuning.variants import Variant

ROUNDING = 1e-12
"""GAPs that differ by less count as equal."""

_EXCHANGES = 32
_PARTS = 16
_CELLS = 1 << 16  # that a bound sorts scores into
_SPREAD = 1.25  # of the scores of any set, against those of the reference

Set = frozenset["Variant"]
"""Variants of different members."""


@dataclass(frozen=True)
class Proof:
    """What a search knows of all the sets within its limits.

    Args:
        is_proven: Whether no set has a higher GAP than the best found.
        bound: GAP that no set exceeds.
        gap: The bound minus GAP of the best set: what another set can gain at most.
        num_nodes: Sets and parts of sets that were scored.
    """

    is_proven: bool
    bound: float
    gap: float
    num_nodes: int


@dataclass(frozen=True)
class SubsetResult:
    """Result of `search_subsets`.

    Args:
        best: The set of highest GAP within the limits.
        gaps: GAP of every set scored, also of some beyond the budget.
        proof: What is known of the sets not scored.
    """

    best: Set
    gaps: Mapping[Set, float]
    proof: Proof


@dataclass(frozen=True)
class Limits:
    """Which sets are allowed, and how long to search.

    Args:
        max_bytes: Bytes of all variants together.
        max_per_family: Members of one family; `None` for any number.
        seconds: Time after which the best so far is taken.
    """

    max_bytes: float
    max_per_family: int | None = None
    seconds: float = math.inf


def search_subsets(
    candidates: Candidates,
    variants: Sequence[Variant],
    *,
    space: Space,
    limits: Limits,
    progress: Progress = no_progress,
) -> SubsetResult:
    """Find the set of at most one variant a member whose uniform mean has the highest GAP.

    An interruption (Ctrl-C) ends the search like its time limit.

    Args:
        candidates: Of the videos to score on, with every column that a variant names.
        variants: What there is to choose from; at least one fits the budget.
        space: Where scores are averaged.
        limits: Which sets are allowed.
        progress: Called with the number of sets and parts scored.

    Returns:
        The best set, and whether it is proven to be the best.
    """
    search = _SubsetSearch(candidates, variants, space, limits, progress)
    try:
        with search.threads:
            search.start_greedily()
            search.branch()
    except KeyboardInterrupt:
        pass
    return search.result()


@dataclass(frozen=True)
class _Node:
    """All sets of `size` members that extend a part.

    Args:
        size: Members of the complete sets.
        fixed: Variants in them.
        held: Members in them whose variant is open.
        available: Members of which the others are taken.
    """

    size: int
    fixed: tuple[Variant, ...] = ()
    held: tuple[int, ...] = ()
    available: tuple[int, ...] = ()


class _SubsetSearch:
    """State of one search."""

    def __init__(
        self,
        candidates: Candidates,
        variants: Sequence[Variant],
        space: Space,
        limits: Limits,
        progress: Progress,
    ) -> None:
        self._limits, self._progress = limits, progress
        self._deadline = time.monotonic() + limits.seconds
        self._scorer = Scorer(candidates, space)
        self._buffers = threading.local()
        self.threads = ThreadPoolExecutor(NUM_THREADS)
        self._gaps: dict[Set, float] = {}
        self._num_nodes = 0
        self._best: Set = frozenset()
        self._best_gap = -math.inf
        self._open = [(-1.0, 0, _Node(0))]
        self._bound = 1.0  # of all parts that were open when the last step began
        self._variants = variants
        self._score_sets([frozenset([variant]) for variant in variants])
        by_member: dict[str, list[Variant]] = {}
        for variant in sorted(variants, key=lambda v: -v.size_bytes):
            by_member.setdefault(variant.member, []).append(variant)
        # Good members first: the nodes without them then hold only poor ones, and are left out.
        self._members = sorted(
            by_member.values(), key=lambda own: -max(self._gaps[frozenset([v])] for v in own)
        )
        self._smallest = [own[-1].size_bytes for own in self._members]

    def result(self) -> SubsetResult:
        """Return the best set so far, and what the nodes left can still hold."""
        bound = max(self._bound, self._best_gap)
        gap = bound - self._best_gap
        proof = Proof(not gap, bound, gap, self._num_nodes)
        return SubsetResult(self._best, self._gaps, proof)

    def start_greedily(self) -> None:
        """Add the best member in turn, at each precision; then improve the best set by exchanges.

        Last, additions go on beyond the budget, to show what more bytes would bring.
        """
        for level in range(max(map(len, self._members))):
            pool = [own[max(len(own) - 1 - level, 0)] for own in self._members]
            self._climb(frozenset(), pool, self._limits.max_bytes)
        self._climb(self._best, self._variants, self._limits.max_bytes, exchange=True)
        smallest = [own[-1] for own in self._members]
        self._refill(smallest)
        self._climb(self._best, smallest, math.inf)

    def _refill(self, pool: Sequence[Variant]) -> None:
        """Take out a member and fill its bytes again, with several if they fit, while GAP rises."""
        before: Set = frozenset()
        while before != self._best:
            before = self._best
            for out in before:
                others = [variant for variant in pool if variant.member != out.member]
                self._climb(before - {out}, others, self._limits.max_bytes)

    def _climb(
        self, start: Set, pool: Sequence[Variant], max_bytes: float, *, exchange: bool = False
    ) -> None:
        """Add the best variant, or make any good exchange, as long as GAP rises."""
        is_better = True
        while is_better:
            kept = [start, *([start - {out} for out in start] if exchange else [])]
            listed = [
                chosen
                for chosen in [*kept[1:], *(rest | {v} for rest in kept for v in pool)]
                if chosen and self._is_allowed(chosen) and _size(chosen) <= max_bytes
            ]
            is_better = False
            # There are many exchanges: the best of the first few that help is good enough.
            step = _EXCHANGES if exchange else max(len(listed), 1)
            for place in range(0, len(listed), step):
                if self._is_over():
                    return
                few = listed[place : place + step]
                gaps = self._score_sets(few)
                top = int(np.argmax(gaps))
                if gaps[top] > self._gaps.get(start, -math.inf):
                    start, is_better = few[top], True
                    break

    def branch(self) -> None:
        """Extend the part of the highest bound, until none can beat the best set."""
        bounds = _Bounds(self._scorer, self._members, self._mean(self._best))
        while self._open and -self._open[0][0] > self._best_gap + ROUNDING:
            self._bound = -self._open[0][0]
            if self._is_over():
                return
            self._progress("select", self._num_nodes, None, unit="sets")
            # Several parts at a time keep all threads busy.
            few = [heapq.heappop(self._open) for _ in range(min(_PARTS, len(self._open)))]
            for part in self._score_parts(few, bounds):
                heapq.heappush(self._open, part)
        self._bound = self._best_gap

    def _score_parts(
        self, parts: Iterable[tuple[float, int, _Node]], bounds: _Bounds
    ) -> list[tuple[float, int, _Node]]:
        """Return the extensions that may hold a better set; score the sets among them."""
        listed = [
            (child, -negated)
            for negated, _, node in parts
            for child in self._children(node)
            if child and (len(child.fixed) < child.size or frozenset(child.fixed) not in self._gaps)
        ]
        found, sets = [], []
        gaps = self.threads.map(bounds.bound, (child for child, _ in listed))
        for (child, bound), gap in zip(listed, gaps, strict=True):
            self._num_nodes += 1
            if gap <= self._best_gap + ROUNDING:
                continue
            if len(child.fixed) == child.size:
                sets.append(frozenset(child.fixed))
            else:
                found.append((-min(gap, bound), self._num_nodes, child))
        self._score_sets(sets)
        return found

    def _children(self, node: _Node) -> list[_Node | None]:
        if not node.size:
            members = tuple(range(len(self._members)))
            return [self._node(size, (), (), members) for size in range(1, len(members) + 1)]
        if node.available:
            return [
                self._node(node.size, node.fixed, (*node.held, member), node.available[place + 1 :])
                for place, member in enumerate(node.available)
            ]
        # The one whose next precision takes most first: it leaves least to choose.
        member = max(node.held, key=lambda m: self._members[m][-2].size_bytes)
        held = [other for other in node.held if other != member]
        return [
            self._node(node.size, (*node.fixed, variant), tuple(held), ())
            for variant in self._members[member]
        ]

    def _node(
        self,
        size: int,
        fixed: tuple[Variant, ...],
        held: tuple[int, ...],
        available: tuple[int, ...],
    ) -> _Node | None:
        """Return the node without what cannot fit the limits; `None` if nothing fits them."""
        cap = self._limits.max_per_family
        if cap is not None:
            families = [v.family for v in fixed] + [self._members[m][0].family for m in held]
            available = tuple(
                m for m in available if families.count(self._members[m][0].family) < cap
            )
        num_missing = size - len(fixed) - len(held)
        least = sorted(self._smallest[m] for m in available)[:num_missing]
        spare = self._limits.max_bytes - sum(least) - sum(v.size_bytes for v in fixed)
        spare -= sum(self._smallest[m] for m in held)
        if len(least) < num_missing or spare < 0:
            return None
        available = tuple(
            m for m in available if num_missing and self._smallest[m] - least[-1] <= spare
        )
        still_open = []
        for member in held:
            own = self._members[member]
            if len(own) > 1 and own[-2].size_bytes - own[-1].size_bytes <= spare:
                still_open.append(member)
            else:
                fixed = (*fixed, own[-1])
        return _Node(size, fixed, tuple(still_open), available)

    def _score_sets(self, sets: Iterable[Set]) -> list[float]:
        """Return the GAP of sets, each scored once."""
        listed = list(sets)
        missing = list(dict.fromkeys(chosen for chosen in listed if chosen not in self._gaps))
        for chosen, gap in zip(missing, self.threads.map(self._gap, missing), strict=True):
            self._record(chosen, gap)
        return [self._gaps[chosen] for chosen in listed]

    def _record(self, chosen: Set, gap: float) -> None:
        self._gaps[chosen] = gap
        self._num_nodes += 1
        if gap > self._best_gap and _size(chosen) <= self._limits.max_bytes:
            self._best, self._best_gap = chosen, gap

    def _gap(self, chosen: Set) -> float:
        return self._scorer.gap_of(self._mean(chosen), num_threads=1)

    def _mean(self, chosen: Set) -> NDArray[np.float32]:
        """Return the uniform mean of a set; the next call in this thread writes over it."""
        from yt8m_ensemble.tuning import subset_kernels

        if not hasattr(self._buffers, "mean"):
            self._buffers.mean = np.empty(self._scorer.linked.shape[1], np.float32)
        mean: NDArray[np.float32] = self._buffers.mean
        none, no_scores = np.empty(0, np.int64), np.empty((0, 0), np.float32)
        subset_kernels.highest_mean(
            self._scorer.linked,
            _columns(chosen),
            no_scores,
            none,
            none,
            len(chosen),
            no_scores.ravel(),
            0.0,
            mean,
        )
        return mean

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def _is_allowed(self, chosen: Set) -> bool:
        members = {variant.member for variant in chosen}
        families = [variant.family for variant in chosen]
        cap = self._limits.max_per_family or len(chosen)
        return len(members) == len(chosen) and max(map(families.count, families)) <= cap


class _Bounds:
    """Bounds of GAP of all sets that extend a part, and of sets.

    Args:
        scorer: Of all candidates.
        members: Variants of each member.
        reference: Scores near which the bounds shall be tight, one for each candidate.
    """

    def __init__(
        self, scorer: Scorer, members: Sequence[Sequence[Variant]], reference: NDArray[np.float32]
    ) -> None:
        from yt8m_ensemble.tuning import top_k_kernels

        held = scorer.candidates
        self._num_positives = held.num_positives
        keep, best = np.zeros(len(held.hits), np.bool_), np.empty(held.top_k, np.float32)
        hits_first = np.where(held.hits, np.float32(np.inf), reference)
        top_k_kernels.keep_best(held.indptr, hits_first, held.top_k, best, keep)
        places = np.flatnonzero(keep | held.hits)
        self._hits = held.hits[places]
        self._signs = np.where(self._hits, np.float32(1), np.float32(-1))
        self._linked = mapped.empty((len(scorer.linked), len(places)), np.float32)
        highest = 0.0
        for own, whole in zip(self._linked, scorer.linked, strict=True):
            scores = whole[places]
            own[:] = self._centered(scores)
            highest = max(highest, np.abs(own).max(initial=0), np.abs(scores).max(initial=0))
        # What rounding, here and in the mean that is scored, can take from a sum of one member.
        self._rounding = float(highest) * float(np.finfo(np.float32).eps)
        self._envelopes = np.stack([self._envelope(own) for own in members])
        spread = np.abs(self._centered(reference[places])).max(initial=np.float32(1e-6))
        self._top = _SPREAD * float(spread)
        self._buffers = threading.local()

    def bound(self, node: _Node) -> float:
        """Return what GAP of no set that extends a part exceeds."""
        from yt8m_ensemble.tuning import subset_kernels

        if not hasattr(self._buffers, "mean"):
            self._buffers.mean = np.empty(len(self._hits), np.float32)
            self._buffers.counts = np.empty((_CELLS, 2), np.int32)
        mean: NDArray[np.float32] = self._buffers.mean
        subset_kernels.highest_mean(
            self._linked,
            _columns(node.fixed),
            self._envelopes,
            np.array(node.held, np.int64),
            np.array(node.available, np.int64),
            node.size,
            self._signs,
            (node.size + 4) * self._rounding,
            mean,
        )
        sums = subset_kernels.highest_precisions(mean, self._hits, self._top, self._buffers.counts)
        return float(sums / self._num_positives)

    def _centered(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        # Hits and misses count alike, or the many misses would decide.
        sides = [side for side in (scores[self._hits], scores[~self._hits]) if len(side)]
        return scores - np.float32(np.mean([side.mean() for side in sides]))

    def _envelope(self, variants: Sequence[Variant]) -> NDArray[np.float32]:
        """Return the highest scores over variants, those of misses negated."""
        columns = (self._linked[variant.column] for variant in variants)
        return functools.reduce(np.maximum, (scores * self._signs for scores in columns))


def _columns(variants: Iterable[Variant]) -> NDArray[np.int64]:
    return np.array(sorted(variant.column for variant in variants), np.int64)


def _size(chosen: Set) -> int:
    return sum(variant.size_bytes for variant in chosen)
