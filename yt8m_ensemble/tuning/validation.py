"""Tune on some videos, judge on others: out-of-fold and held-out GAP with paired intervals.

Joins candidates, contenders and scoring; reads no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.mapped import Growing
from yt8m_ensemble.tuning.baselines import BASELINES, ScoreFunction, apply_mixture, class_weights
from yt8m_ensemble.tuning.class_bias import allowed_precisions, fit_class_bias, fit_class_biases
from yt8m_ensemble.tuning.results import Gain, HeldOutResult, TuneResult
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences
from yt8m_ensemble.tuning.shrinkage import ShrunkFit, fit_shrunk
from yt8m_ensemble.tuning.splits import split_into_folds, split_videos
from yt8m_ensemble.values import SPACES, MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.options.choices import Method, SpaceOrAuto
    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.tuning.scoring import Ranking

NUM_RESAMPLES = 1000
TUNED = "tuned weights"
UNIFORM = "uniform over kept members"
PER_CLASS = "weights by class"
BIASED = " with class bias"
IN_SAMPLE, HELD_OUT, OUT_OF_FOLD = "in sample", "held out", "out of fold"
FEW_VIDEOS_TO_TUNE = 50
"""Fewer videos to tune on than this cannot tell weights apart: the uniform mean is taken."""

Ranker = Callable[[Sequence[MixtureWeights], "NDArray[np.int64]"], "list[Candidates]"]
"""Ranks the scores of mixtures exactly, as `rank_exactly` does, of videos that it knows."""

_CONFIDENCE = 0.95
_JUDGED = (IN_SAMPLE, HELD_OUT, OUT_OF_FOLD)


@dataclass(frozen=True)
class TuneSettings:
    """How `tune` fits and judges; fields as in `options.mixture.TuneOptions`."""

    space: SpaceOrAuto = "logit"
    method: Method = "nelder-mead"
    step: float = 0.05
    shrink: float = 250.0
    holdout: float = 0.5
    folds: int = 5
    bootstrap: int = 1000
    per_class: bool = False
    class_bias: bool = True
    keep_tuned: bool = False
    seed: int = 0


def tune(
    candidates: Candidates,
    video_ids: NDArray[np.bytes_],
    settings: TuneSettings,
    *,
    rank: Ranker | None = None,
    progress: Progress = no_progress,
) -> TuneResult:
    """Fit a mixture, and judge it on videos that it was not fitted on.

    Weights are fitted by `fit_shrunk`. Out of fold decides whether they, or the uniform mean of the
    members kept, are the result; then whether a class bias is added. Held-out videos only report,
    unless the tuned weights lose there for certain.

    Args:
        candidates: Of all videos; with spare ranks for weights or biases by class.
        video_ids: Shape `(N,)`, bytes; they decide fold and side of each video.
        settings: How.
        rank: Called with mixtures and with the index of the mixture of each video in each ranking,
            shape `(R, N)`, as `rank_exactly` takes them; without it no class bias is fitted.
        progress: Called with the number of fits done.

    Returns:
        The mixture and its judgements.

    Raises:
        PredictionsError: If no video has a label.
        UsageError: If options contradict each other, or there are fewer videos than folds.
    """
    return _Tuning(candidates, video_ids, settings, rank, progress).result()


class _Tuning:
    """One run of `tune`, step by step."""

    def __init__(
        self,
        candidates: Candidates,
        video_ids: NDArray[np.bytes_],
        settings: TuneSettings,
        rank: Ranker | None,
        progress: Progress,
    ) -> None:
        _check_settings(settings)
        self._settings, self._progress = settings, progress
        self._candidates, self._rank = candidates, rank
        inner, outer = split_videos(video_ids, fraction=settings.holdout, seed=settings.seed)
        self._inner_rows, self._outer_rows = inner, outer
        self._inner = candidates.select(inner)
        if settings.folds > len(inner):
            msg = (
                f"{settings.folds} folds of {len(inner)} videos would be empty. Add videos, or "
                "lower `yt8m-ens tune-weights --folds`."
            )
            raise UsageError(msg, num_folds=settings.folds, num_videos=len(inner))
        check_labeled(self._inner)
        self._folds = split_into_folds(
            video_ids[inner], num_folds=settings.folds, seed=settings.seed
        )

    def result(self) -> TuneResult:
        """Fit on all videos to tune on and on all folds but one in turn; choose; judge.

        Returns:
            The mixture and its judgements.
        """
        settings = self._settings
        self._progress("tune", 0, len(self._folds) + 1, unit="fits")
        whole = self._fit(self._inner)
        fits: list[_Fit] = []
        for number, fold in enumerate(self._folds if not whole.was_interrupted else []):
            self._progress("tune", number + 1, len(self._folds) + 1, unit="fits")
            outside = np.setdiff1d(np.arange(self._inner.num_videos), fold)
            fits.append(self._fit(self._inner.select(outside)))
        self._progress("choose and judge", 0, None)
        judged = self._fold_rankings(fits)
        taken, chosen_by = self._choose(judged)
        mixture, judgements = whole.mixtures[taken], []
        biased = None
        if fits:
            biased = self._try_bias(whole, fits, taken)
            result, biased = self._judge_folds(taken, judged, biased)
            judgements.append(result)
        if len(self._outer_rows):
            rankings = self._held_out_rankings(whole)
            held = self._judge(HELD_OUT, taken, rankings, biased)
            tuned_lost = taken == TUNED and held.gains[0].interval[1] < 0
            if tuned_lost and not settings.keep_tuned:
                taken, chosen_by = UNIFORM, "held out"
                mixture = whole.mixtures[UNIFORM]
                if biased is not None:
                    biased = self._bias(mixture, biased.precision)
                held = replace(self._judge(HELD_OUT, taken, rankings, biased), was_used=True)
            judgements.append(held)
        if biased is not None:
            mixture = biased.mixture
        fitted = whole.shrunk
        in_sample = biased.rankings[IN_SAMPLE] if biased else self._ranking(self._inner, mixture)
        return TuneResult(
            weights=mixture,
            method=settings.method,
            seed=settings.seed,
            gap_in_sample=in_sample.gap,
            judgements=tuple(judgements),
            num_evaluations=whole.num_evaluations,
            trace=fitted.search.trace,
            was_interrupted=whole.was_interrupted,
            chosen_by=chosen_by,
            shrinkage=fitted.shrinkage if taken != UNIFORM else 0.0,
            dropped=fitted.dropped,
            bias_precision=biased.precision if biased else None,
        )

    def _fit(self, some: Candidates) -> _Fit:
        settings = self._settings
        spaces = SPACES if settings.space == "auto" else (settings.space,)
        found: dict[Space, ShrunkFit] = {}
        for space in spaces:
            found[space] = fit_shrunk(
                some,
                space,
                method=settings.method,
                step=settings.step,
                shrink=settings.shrink,
                seed=settings.seed,
            )
            if found[space].search.was_interrupted:
                break
        shrunk = max(found.values(), key=lambda fit: fit.search.gap)
        mixtures = {TUNED: shrunk.weights, UNIFORM: shrunk.uniform}
        if settings.per_class:
            mixtures[PER_CLASS] = class_weights(some, shrunk.weights)
        applied = {name: apply_mixture(mixture) for name, mixture in mixtures.items()}
        applied |= {name: baseline(some) for name, baseline in BASELINES.items()}
        evaluations = sum(fit.search.num_evaluations for fit in found.values())
        return _Fit(mixtures, shrunk, applied, evaluations)

    def _choose(self, judged: Mapping[str, Ranking]) -> tuple[str, str]:
        """Return which mixture is taken, and what decided it."""
        settings = self._settings
        names = [UNIFORM, TUNED, *([PER_CLASS] if settings.per_class else [])]
        if settings.keep_tuned:
            return TUNED, "keep tuned"
        if self._inner.num_videos < FEW_VIDEOS_TO_TUNE:
            return UNIFORM, "too few videos"
        if not judged:
            return UNIFORM, "no folds"
        # Equal is not better: the plain mean needs no reason.
        return max(names, key=lambda name: judged[name].gap), "out of fold"

    def _fold_rankings(self, fits: Sequence[_Fit]) -> dict[str, Ranking]:
        """Return the ranking of all videos by every contender, each fitted without them."""
        if not fits:
            return {}
        found = {name: Growing() for name in fits[0].applied}
        for fit, fold in zip(fits, self._folds, strict=True):
            own = self._inner.select(fold)
            for name, apply in fit.applied.items():
                found[name].append(apply(own))
        scorer = Scorer(self._judged(), "probability")
        return {name: scorer.ranking_of(scores.join()) for name, scores in found.items()}

    def _held_out_rankings(self, whole: _Fit) -> dict[str, Ranking]:
        outer = self._candidates.select(self._outer_rows)
        scorer = Scorer(outer, "probability")
        return {name: scorer.ranking_of(apply(outer)) for name, apply in whole.applied.items()}

    def _judged(self) -> Candidates:
        """Return all videos to tune on, fold by fold, without scores of members."""
        return self._inner.select_members([]).select(np.concatenate(self._folds))

    @staticmethod
    def _ranking(candidates: Candidates, mixture: MixtureWeights) -> Ranking:
        return Scorer(candidates, "probability").ranking_of(apply_mixture(mixture)(candidates))

    def _judge(
        self, name: str, taken: str, rankings: Mapping[str, Ranking], biased: _Biased | None
    ) -> HeldOutResult:
        ordered = _taken_first(name, taken, rankings, biased)
        return _compare(name, ordered, self._resample(ordered))

    def _judge_folds(
        self, taken: str, rankings: Mapping[str, Ranking], biased: _Biased | None
    ) -> tuple[HeldOutResult, _Biased | None]:
        """Return the judgement out of fold, and the bias if it raises GAP there for certain."""
        ordered = _taken_first(OUT_OF_FOLD, taken, rankings, biased)
        resampled = self._resample(ordered)
        result = _compare(OUT_OF_FOLD, ordered, resampled)
        if biased is None or result.gains[0].is_real:
            return result, biased
        unbiased = _taken_first(OUT_OF_FOLD, taken, rankings, None)
        return _compare(OUT_OF_FOLD, unbiased, resampled[1:]), None

    def _resample(self, rankings: Mapping[str, Ranking]) -> NDArray[np.float64]:
        settings = self._settings
        return paired_differences(
            list(rankings.values()), num_resamples=settings.bootstrap, seed=settings.seed
        )

    def _try_bias(self, whole: _Fit, fits: Sequence[_Fit], taken: str) -> _Biased | None:
        """Return the class bias whose precision is best out of fold, if one can be fitted."""
        num_videos = self._inner.num_videos
        if (
            not self._settings.class_bias
            or self._rank is None
            or whole.mixtures[taken].space != "logit"
            or num_videos < FEW_VIDEOS_TO_TUNE
        ):
            return None
        precision, by_fold = self._best_precision(fits, taken)
        return self._bias(whole.mixtures[taken], precision, by_fold)

    def _best_precision(
        self, fits: Sequence[_Fit], taken: str
    ) -> tuple[float, list[MixtureWeights]]:
        """Return the precision that is best out of fold, and the mixtures of the folds with it."""
        num_videos = self._inner.num_videos
        precisions = allowed_precisions(num_videos)
        biased: list[list[MixtureWeights]] = []
        scores = [Growing() for _ in precisions]

        def fit_outside(fit: _Fit, fold: NDArray[np.int64]) -> None:
            outside = self._inner.select(np.setdiff1d(np.arange(num_videos), fold))
            biased.append(fit_class_biases(outside, fit.mixtures[taken], precisions))
            del outside
            own = self._inner.select(fold)
            for mixture, found in zip(biased[-1], scores, strict=True):
                found.append(apply_mixture(mixture)(own))

        for fit, fold in zip(fits, self._folds, strict=True):
            fit_outside(fit, fold)
        scorer = Scorer(self._judged(), "probability")
        best = int(np.argmax([scorer.gap_of(found.join()) for found in scores]))
        return precisions[best], [mixtures[best] for mixtures in biased]

    def _bias(
        self, mixture: MixtureWeights, precision: float, by_fold: Sequence[MixtureWeights] = ()
    ) -> _Biased:
        """Return a mixture's class bias, and rankings by it; out of fold each fold has its own."""
        # The candidates may lack a class that only its bias lifts, so all scores are ranked.
        assert self._rank is not None  # noqa: S101 - `_try_bias` has looked
        mixture = fit_class_bias(self._inner, mixture, precision=precision)
        owners = {name: np.full(self._candidates.num_videos, -1) for name in _JUDGED}
        owners[IN_SAMPLE][self._inner_rows] = owners[HELD_OUT][self._outer_rows] = 0
        for number, fold in enumerate(self._folds if by_fold else ()):
            owners[OUT_OF_FOLD][self._inner_rows[fold]] = number + 1
        owners = {name: own for name, own in owners.items() if np.any(own >= 0)}
        found = dict(
            zip(owners, self._rank([mixture, *by_fold], np.stack([*owners.values()])), strict=True)
        )
        if by_fold:
            # In the order of the other contenders.
            found[OUT_OF_FOLD] = found[OUT_OF_FOLD].select(np.concatenate(self._folds))
        rankings = {name: Scorer(one, "probability").ranking([1]) for name, one in found.items()}
        return _Biased(mixture, precision, rankings)


def check_labeled(candidates: Candidates) -> None:
    """Refuse videos that have no label.

    Args:
        candidates: Of the videos to tune on.

    Raises:
        PredictionsError: If none has one.
    """
    if not candidates.num_positives:
        msg = (
            f"None of the {candidates.num_videos} videos to tune on has a label; nothing can be "
            "scored."
        )
        raise PredictionsError(msg, num_videos=candidates.num_videos)


def judge(
    name: str,
    rankings: Mapping[str, Ranking],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> HeldOutResult:
    """Compare one way of scoring with others on the same videos.

    Args:
        name: What the videos are to the mixture.
        rankings: Of the ways, all over the same videos in one order; the first is compared with
            the rest.
        num_resamples: Bootstrap resamples of the videos.
        seed: Seed of the bootstrap.

    Returns:
        GAPs and gains.
    """
    resampled = paired_differences([*rankings.values()], num_resamples=num_resamples, seed=seed)
    return _compare(name, rankings, resampled)


def _compare(
    name: str, rankings: Mapping[str, Ranking], resampled: NDArray[np.float64]
) -> HeldOutResult:
    """Compare the first of some rankings with the rest.

    Args:
        name: What the videos are to the mixture.
        rankings: Over the same videos in one order.
        resampled: Their GAPs over the same resamples, shape `(number of rankings, R)`.

    Returns:
        GAPs and gains.
    """
    (first, best), *others = rankings.items()
    tail = (1 - _CONFIDENCE) / 2
    gains = []
    for (label, other), resample in zip(others, resampled[1:], strict=True):
        low, high = np.nanquantile(resampled[0] - resample, [tail, 1 - tail]).tolist()
        gains.append(Gain(label, other.gap, best.gap - other.gap, (low, high)))
    error = float(np.nanstd(resampled[0], ddof=1))
    return HeldOutResult(name, first, len(best.positives), best.gap, error, tuple(gains))


def _taken_first(
    name: str, taken: str, rankings: Mapping[str, Ranking], biased: _Biased | None
) -> dict[str, Ranking]:
    """Return the rankings with that of the mixture taken, with its bias if it has one, first."""
    ordered = {taken: rankings[taken], **rankings}
    return {taken + BIASED: biased.rankings[name], **ordered} if biased else ordered


def _check_settings(settings: TuneSettings) -> None:
    """Refuse settings that leave nothing to judge on.

    Raises:
        UsageError: If they do.
    """
    if settings.per_class and not settings.folds:
        msg = (
            "Weights by class are only taken if GAP rises out of fold. Set "
            "`yt8m-ens tune-weights --folds` to 2 or more."
        )
        raise UsageError(msg, num_folds=settings.folds)
    if settings.folds == 1 or not (settings.folds or settings.holdout):
        msg = (
            f"{settings.folds} folds and {settings.holdout:g} held out leave nothing to judge on. "
            "Set `yt8m-ens tune-weights --folds` to 2 or more, or `--holdout` above 0."
        )
        raise UsageError(msg, num_folds=settings.folds, holdout=settings.holdout)


@dataclass(frozen=True)
class _Fit:
    """Mixtures and baselines fitted on one set of videos."""

    mixtures: Mapping[str, MixtureWeights]
    shrunk: ShrunkFit
    applied: Mapping[str, ScoreFunction]
    num_evaluations: int

    @property
    def was_interrupted(self) -> bool:
        return self.shrunk.search.was_interrupted


@dataclass(frozen=True)
class _Biased:
    """A mixture with a class bias, and exact rankings by it of the videos of each judgement."""

    mixture: MixtureWeights
    precision: float
    rankings: Mapping[str, Ranking]
