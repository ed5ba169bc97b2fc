"""Choose an average of checkpoints that is no worse than the last one.

Each candidate is scored on the videos that choose. The last checkpoint stays unless another
candidate's GAP is higher by more than the paired 95 % error of the difference; of those that are,
the best is taken. Videos held out choose nothing, and say what the choice is worth. Knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from yt8m_ensemble.averaging import MeanSource, candidate_weights
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.tuning import Scorer
from yt8m_ensemble.tuning.scoring import paired_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.averaging import AveragePlan
    from yt8m_ensemble.tuning import Candidates
    from yt8m_ensemble.values import Progress, TensorSource

FEW_VIDEOS: Final = 50
"""Fewer videos than this cannot tell averages apart: the last checkpoint is taken."""

LAST, SOUP = "last", "greedy soup"
RULE: Final = (
    "the last checkpoint, unless another candidate's GAP is higher by more than its paired 95 % "
    "error; of those the highest"
)

_NUM_RESAMPLES = 1000
_TAIL = 0.025


@dataclass(frozen=True)
class CandidateAverage:
    """An average that was tried.

    Args:
        name: What it is, as `uniform 5`.
        inputs: What it averages, oldest first.
        weights: Weight of each input, sum 1.
        gap: Its GAP on the videos that choose.
        difference: That GAP minus the last checkpoint's.
        interval: Paired bootstrap interval of the difference, 95 %.
    """

    name: str
    inputs: tuple[str, ...]
    weights: tuple[float, ...]
    gap: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class HeldOutChoice:
    """The choice on videos that had no part in it.

    Args:
        num_videos: Their number.
        gap: GAP of the choice.
        difference: That GAP minus the last checkpoint's.
        interval: Paired bootstrap interval of the difference, 95 %.
    """

    num_videos: int
    gap: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class AverageChoice:
    """Result of `choose_average`.

    Args:
        chosen: Name of the candidate taken.
        rule: How it was chosen.
        num_videos: Videos that chose.
        candidates: All candidates, the last checkpoint first.
        held_out: The choice on other videos; `None` if none were held out.
    """

    chosen: str
    rule: str
    num_videos: int
    candidates: tuple[CandidateAverage, ...]
    held_out: HeldOutChoice | None

    @property
    def best(self) -> CandidateAverage:
        """The candidate taken."""
        return next(found for found in self.candidates if found.name == self.chosen)


def choose_average(
    sources: Mapping[str, TensorSource],
    plan: AveragePlan,
    *,
    score: Callable[[TensorSource], Candidates],
    tuned_on: NDArray[np.int64],
    held_out: NDArray[np.int64],
    seed: int,
    progress: Progress,
) -> AverageChoice:
    """Try the averages of a run's checkpoints that are worth it, and choose.

    Args:
        sources: The checkpoints by label, oldest first.
        plan: What is averaged of them.
        score: Scores weights on all videos: the pairs that GAP counts, as `BestPairs` gathers them.
        tuned_on: Rows of the videos that choose.
        held_out: Rows of those that only judge.
        seed: Seed of the bootstrap.
        progress: Called with the number of candidates scored.

    Returns:
        The choice.

    Raises:
        PredictionsError: If none of the videos that choose has a label.
    """
    trials = _Trials(sources, plan, score, tuned_on, progress)
    labels, singles = [*sources], np.eye(len(sources))
    names = [*labels[:-1], LAST]
    for name, weights in zip(reversed(names), reversed(singles), strict=True):
        trials.add(name, weights)
    ranked = sorted(range(len(labels)), key=lambda place: -trials.gaps[names[place]])
    for name, shares in candidate_weights(len(labels)).items():
        trials.add(name, np.array(shares))
    trials.add_soup(singles[ranked], trials.gaps[names[ranked[0]]])
    found = trials.judged(seed)
    better = [one for one in found if one.interval[0] > 0]
    enough = len(tuned_on) >= FEW_VIDEOS
    chosen = max(better, key=lambda one: one.gap) if better and enough else found[0]
    outside = trials.held_out(chosen, held_out, seed) if len(held_out) else None
    rule = RULE if enough else f"the last checkpoint: under {FEW_VIDEOS} videos cannot tell more"
    return AverageChoice(chosen.name, rule, len(tuned_on), tuple(found), outside)


class _Trials:
    """Candidates scored so far."""

    def __init__(
        self,
        sources: Mapping[str, TensorSource],
        plan: AveragePlan,
        score: Callable[[TensorSource], Candidates],
        tuned_on: NDArray[np.int64],
        progress: Progress,
    ) -> None:
        self._sources, self._plan, self._score = sources, plan, score
        self._tuned_on, self._progress = tuned_on, progress
        self._count = 0
        self._weights: dict[str, NDArray[np.float64]] = {}
        self._scores: dict[str, Candidates] = {}
        self.gaps: dict[str, float] = {}

    def add(self, name: str, weights: NDArray[np.float64]) -> None:
        """Score a candidate."""
        self._keep(name, weights, *self._scored(weights))

    def add_soup(self, singles: NDArray[np.float64], best: float) -> None:
        """Add the greedy soup: checkpoints join, best first, unless GAP falls.

        Args:
            singles: Each checkpoint alone as weights, best first, shape `(K, K)`.
            best: GAP of the first.
        """
        kept, soup = singles[0], None
        for single in singles[1:]:
            tried = kept + single
            scores, gap = self._scored(tried / tried.sum())
            if gap >= best:
                kept, best, soup = tried, gap, scores
        if soup is not None:
            self._keep(SOUP, kept / kept.sum(), soup, best)

    def _keep(
        self, name: str, weights: NDArray[np.float64], scores: Candidates, gap: float
    ) -> None:
        self._weights[name], self._scores[name], self.gaps[name] = weights, scores, gap

    def _scored(self, weights: NDArray[np.float64]) -> tuple[Candidates, float]:
        """Return the scores of an average, and its GAP on the videos that choose.

        Raises:
            PredictionsError: If these have no label.
        """
        pairs = zip(self._sources.items(), weights.tolist(), strict=True)
        used = {label: (source, weight) for (label, source), weight in pairs if weight > 0}
        mean = MeanSource(
            {label: source for label, (source, _) in used.items()},
            self._plan,
            [weight for _, weight in used.values()],
        )
        scores = self._score(mean)
        inner = scores.select(self._tuned_on)
        if not inner.num_positives:
            msg = (
                f"The {inner.num_videos} videos of `--eval-data` that choose have no label. Give "
                "labeled records."
            )
            raise PredictionsError(msg, num_videos=inner.num_videos)
        self._count += 1
        self._progress("choose an average", self._count, None, unit="averages")
        return scores, float(Scorer(inner, "probability").gap([1]))

    def judged(self, seed: int) -> list[CandidateAverage]:
        """Return all candidates with paired intervals over the last checkpoint."""
        names = list(self._weights)
        intervals = self._intervals(names, self._tuned_on, seed)
        labels = np.array(list(self._sources), object)
        return [
            CandidateAverage(
                name,
                tuple(labels[self._weights[name] > 0]),
                tuple(self._weights[name][self._weights[name] > 0].tolist()),
                self.gaps[name],
                self.gaps[name] - self.gaps[LAST],
                interval,
            )
            for name, interval in zip(names, intervals, strict=True)
        ]

    def held_out(
        self, chosen: CandidateAverage, rows: NDArray[np.int64], seed: int
    ) -> HeldOutChoice:
        """Return what a candidate is worth on other videos."""
        gaps = [
            float(Scorer(self._scores[name].select(rows), "probability").gap([1]))
            for name in (LAST, chosen.name)
        ]
        (interval,) = self._intervals([chosen.name], rows, seed)
        return HeldOutChoice(len(rows), gaps[1], gaps[1] - gaps[0], interval)

    def _intervals(
        self, names: Sequence[str], rows: NDArray[np.int64], seed: int
    ) -> list[tuple[float, float]]:
        sides = [self._scores[name].select(rows) for name in (LAST, *names)]
        if not sides[0].num_positives:
            return [(float("nan"), float("nan"))] * len(names)
        rankings = [Scorer(side, "probability").ranking([1]) for side in sides]
        found = paired_differences(rankings, num_resamples=_NUM_RESAMPLES, seed=seed)
        ends = np.nanquantile(found[1:] - found[0], [_TAIL, 1 - _TAIL], axis=1)
        return [(float(low), float(high)) for low, high in ends.T]
