"""Choose members, and their precision, under a byte budget by exact GAP.

Works on candidates and sizes; knows neither checkpoints nor files.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.splits import hash_videos, split_videos
from yt8m_ensemble.tuning.tuners import search_weights
from yt8m_ensemble.values import MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates

MAX_EXACT = 12
NUM_FOLDS = 3
_STEP = 0.1


@dataclass(frozen=True)
class Variant:
    """A member in one precision, with its bytes.

    Args:
        member: The member.
        precision: Of its stored weights, e.g. `float16`.
        size_bytes: What it adds to the bundle.
        column: Which of the candidates' members holds its scores.
        is_measured: Whether these are the scores of this very precision, or assumed to equal them.
    """

    member: str
    precision: str
    size_bytes: int
    column: int
    is_measured: bool

    @property
    def name(self) -> str:
        """Member and precision."""
        return f"{self.member}@{self.precision}"


@dataclass(frozen=True)
class Choice:
    """One set of members with its weights.

    Args:
        variants: What is in it.
        weights: Its mixture, tuned on the videos to select on.
        size_bytes: What it adds to the bundle in all.
        gap_in_sample: GAP on the videos to select on.
        gap_out_of_fold: The same videos, each fold under weights tuned on the others.
        gap_held_out: GAP on videos that neither selection nor tuning saw.
    """

    variants: tuple[Variant, ...]
    weights: MixtureWeights
    size_bytes: int
    gap_in_sample: float
    gap_out_of_fold: float
    gap_held_out: float


@dataclass(frozen=True)
class Selection:
    """The best set under the budget, and the best sets of more and of fewer bytes.

    Args:
        chosen: The set of highest out-of-fold GAP within the budget.
        frontier: Sets that no smaller set matches in GAP, by rising size; also those
            over budget where `is_exact`.
        is_exact: Whether every set was scored, or ruled out by what a search over its supersets
            reached, which is no proof; else greedy with swaps, within the budget.
        num_scored: Sets whose weights were tuned.
        num_ruled_out: Sets that could not be on the frontier.
    """

    chosen: Choice
    frontier: tuple[Choice, ...]
    is_exact: bool
    num_scored: int
    num_ruled_out: int


def select_members(
    candidates: Candidates,
    video_ids: NDArray[np.bytes_],
    variants: Sequence[Variant],
    *,
    max_bytes: float,
    space: Space,
    holdout: float = 0.5,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Selection:
    """Choose the variants whose tuned mixture has the highest out-of-fold GAP within a budget.

    Up to `MAX_EXACT` variants every set of at most one variant a member is considered. A set is
    ruled out without tuning if a smaller one is already as good as the best that a search of step
    0.1 found among its supersets, since a mixture of fewer members is a mixture of more with
    weights of 0; a finer search might find better. Beyond that: greedy additions, each followed by
    swaps.

    Args:
        candidates: Of all videos and every column that a variant names.
        video_ids: Shape `(N,)`, bytes.
        variants: What there is to choose from.
        max_bytes: The budget.
        space: Mixing space.
        holdout: Share of videos that only judge the frontier.
        seed: Seed of split and folds.
        progress: Called with the number of sets scored.

    Returns:
        The choice and the frontier of GAP against bytes.

    Raises:
        UsageError: If not even the smallest variant fits the budget.
    """
    smallest = min(variants, key=lambda variant: variant.size_bytes)
    if smallest.size_bytes > max_bytes:
        msg = (
            f"Not even '{smallest.name}' with {smallest.size_bytes:,} bytes fits into "
            f"{max_bytes:,.0f} bytes. Raise `--max-size`, or allow a smaller precision."
        )
        raise UsageError(msg, smallest=smallest.name, size_bytes=smallest.size_bytes)
    inner, outer = split_videos(video_ids, fraction=holdout, seed=seed)
    pool = _Pool(candidates.select(inner), space, progress)
    useful = _without_larger_copies(variants)
    is_exact = len(useful) <= MAX_EXACT
    if is_exact:
        _score_all(pool, useful)
    else:
        _score_greedily(pool, useful, max_bytes)
    folds = np.argsort(hash_videos(video_ids[inner], key=f"fold {seed}"))
    judged = candidates.select(outer) if len(outer) else pool.candidates
    frontier = tuple(
        _judge(choice, pool.candidates, folds, judged) for choice in _frontier(pool.scored.values())
    )
    fitting = [choice for choice in frontier if choice.size_bytes <= max_bytes]
    chosen = max(fitting, key=lambda choice: choice.gap_out_of_fold)
    return Selection(chosen, frontier, is_exact, len(pool.scored), pool.num_ruled_out)


@dataclass
class _Pool:
    """Sets scored so far."""

    candidates: Candidates
    space: Space
    progress: Progress
    scored: dict[frozenset[Variant], Choice] = field(default_factory=dict)
    num_ruled_out: int = 0

    def score(self, variants: Iterable[Variant]) -> Choice:
        """Tune a set's weights on all videos of the pool, unless that was done before.

        Args:
            variants: The set.

        Returns:
            The set with its weights and GAP in sample.
        """
        key = frozenset(variants)
        if key not in self.scored:
            ordered = tuple(sorted(key, key=lambda variant: variant.column))
            part = self.candidates.select_members([variant.column for variant in ordered])
            found = search_weights(Scorer(part, self.space), method="coordinate", step=_STEP)
            weights = MixtureWeights.normalized(
                [variant.name for variant in ordered], found.values.tolist(), space=self.space
            )
            size = sum(variant.size_bytes for variant in ordered)
            nan = float("nan")
            self.scored[key] = Choice(ordered, weights, size, found.gap, nan, nan)
            self.progress("select", len(self.scored), None, unit="sets")
        return self.scored[key]


def _without_larger_copies(variants: Sequence[Variant]) -> list[Variant]:
    # Of variants that score alike only the smallest can be worth its bytes.
    best: dict[tuple[str, int], Variant] = {}
    for variant in variants:
        key = (variant.member, variant.column)
        if key not in best or variant.size_bytes < best[key].size_bytes:
            best[key] = variant
    return list(best.values())


def _score_all(pool: _Pool, variants: Sequence[Variant]) -> None:
    members = sorted({variant.member for variant in variants})
    options = [[None, *(v for v in variants if v.member == member)] for member in members]
    sets = [frozenset(v for v in chosen if v) for chosen in itertools.product(*options)]
    ceilings: dict[frozenset[Variant], float] = {}
    # Larger sets first: a superset's GAP bounds that of every set inside it.
    for chosen in sorted(filter(None, sets), key=lambda s: -len(s)):
        supersets = [chosen | {v} for v in variants if v.member not in {c.member for c in chosen}]
        ceiling = min((ceilings[s] for s in supersets), default=1.0)
        size = sum(variant.size_bytes for variant in chosen)
        if any(c.size_bytes <= size and c.gap_in_sample > ceiling for c in pool.scored.values()):
            pool.num_ruled_out += 1
            ceilings[chosen] = ceiling
        else:
            ceilings[chosen] = min(ceiling, pool.score(chosen).gap_in_sample)


def _score_greedily(pool: _Pool, variants: Sequence[Variant], max_bytes: float) -> None:
    best: frozenset[Variant] = frozenset()
    gap = 0.0
    while True:
        # Neighbors: one variant more, or one exchanged for another (also of the same member).
        neighbors = [best | {v} for v in variants] + [
            (best - {out}) | {v} for out in best for v in variants
        ]
        fitting = [
            n
            for n in neighbors
            if sum(v.size_bytes for v in n) <= max_bytes and len({v.member for v in n}) == len(n)
        ]
        scored = [pool.score(n) for n in fitting]
        top = max(scored, key=lambda choice: choice.gap_in_sample, default=None)
        if top is None or top.gap_in_sample <= gap:
            return
        best, gap = frozenset(top.variants), top.gap_in_sample


def _frontier(choices: Iterable[Choice]) -> list[Choice]:
    frontier: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.size_bytes, -c.gap_in_sample)):
        if not frontier or choice.gap_in_sample > frontier[-1].gap_in_sample:
            frontier.append(choice)
    return frontier


def _judge(
    choice: Choice, inner: Candidates, folds: NDArray[np.int64], judged: Candidates
) -> Choice:
    columns = [variant.column for variant in choice.variants]
    inner, judged = inner.select_members(columns), judged.select_members(columns)
    weights = choice.weights
    order, scores = [], []
    for fold in range(NUM_FOLDS):
        inside, outside = folds[fold::NUM_FOLDS], np.delete(folds, np.s_[fold::NUM_FOLDS])
        rest = Scorer(inner.select(np.sort(outside)), weights.space)
        found = search_weights(rest, method="coordinate", step=_STEP)
        tuned = replace(weights, values=tuple(found.values.tolist()))
        order.append(inside)
        scores.append(mix(list(inner.select(inside).scores), tuned))
    folded = Scorer(inner.select(np.concatenate(order)), "probability")
    return replace(
        choice,
        gap_out_of_fold=folded.gap_of(np.concatenate(scores)),
        gap_held_out=Scorer(judged, "probability").gap_of(mix(list(judged.scores), weights)),
    )


def list_variants(
    columns: Sequence[str], sizes: Mapping[str, Mapping[str, int]], precisions: Sequence[str]
) -> list[Variant]:
    """Pair each member's precisions with the predictions that tell how they score.

    A column `NAME@PRECISION` holds the scores of that precision. Without one, a precision counts
    as scoring like the column `NAME`, except `uint4`, whose loss is too large to assume away.

    Args:
        columns: Names of the predictions' members.
        sizes: Bytes by member and precision.
        precisions: Precisions to consider.

    Returns:
        The variants.

    Raises:
        UsageError: If a member has no size.
    """
    variants = []
    for member in dict.fromkeys(column.partition("@")[0] for column in columns):
        if member not in sizes:
            msg = (
                f"The size of '{member}' is not known. Pass `--size {member}=BYTES`, or "
                f"`--model {member}=PATH`."
            )
            raise UsageError(msg, member=member)
        for precision in precisions:
            own = f"{member}@{precision}"
            if own in columns or (precision == "float32" and member in columns):
                column, is_measured = own if own in columns else member, True
            elif member in columns and precision != "uint4":
                column, is_measured = member, False
            else:
                continue
            variants.append(
                Variant(
                    member, precision, sizes[member][precision], columns.index(column), is_measured
                )
            )
    return variants
