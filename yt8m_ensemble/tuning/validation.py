"""Tune on some videos, judge on others: out-of-fold and held-out GAP with paired intervals.

Joins candidates, contenders and scoring; reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.tuning import mapped
from yt8m_ensemble.tuning.baselines import BASELINES, ScoreFunction, apply_mixture, class_weights
from yt8m_ensemble.tuning.class_bias import allowed_precisions, fit_class_bias, rank_exactly
from yt8m_ensemble.tuning.mapped import Growing
from yt8m_ensemble.tuning.results import Gain, HeldOutResult, TuneResult
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences
from yt8m_ensemble.tuning.shrinkage import ShrunkFit, fit_shrunk
from yt8m_ensemble.tuning.splits import split_into_folds, split_videos
from yt8m_ensemble.values import SPACES, MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.options.choices import Method, SpaceOrAuto
    from yt8m_ensemble.tuning.candidates import Candidates

NUM_RESAMPLES = 1000
TUNED = "tuned weights"
UNIFORM = "uniform over kept members"
PER_CLASS = "weights by class"
BIASED = " with class bias"
FEW_VIDEOS_TO_TUNE = 50
"""Fewer videos to tune on than this cannot tell weights apart: the uniform mean is taken."""

Block = tuple["NDArray[np.float32]", "NDArray[np.bool_]"]
"""Scores `(M, B, C)`, float32, and labels `(B, C)`, bool, of B videos."""

_CONFIDENCE = 0.95


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
    blocks: Callable[[], Iterable[Block]] | None = None,
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
        blocks: Called for row blocks of all scores `(M, B, C)` and labels `(B, C)` of the same
            videos; without it no class bias is fitted.
        progress: Called with the number of fits done.

    Returns:
        The mixture and its judgements.

    Raises:
        PredictionsError: If no video has a label.
        UsageError: If options contradict each other, or there are fewer videos than folds.
    """
    return _Tuning(candidates, video_ids, settings, blocks, progress).result()


class _Tuning:
    """One run of `tune`, step by step."""

    def __init__(
        self,
        candidates: Candidates,
        video_ids: NDArray[np.bytes_],
        settings: TuneSettings,
        blocks: Callable[[], Iterable[Block]] | None,
        progress: Progress,
    ) -> None:
        _check_settings(settings)
        self._settings, self._progress = settings, progress
        self._candidates, self._blocks = candidates, blocks
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
        taken, chosen_by = self._choose(fits)
        judgements = [self._out_of_fold(fits, taken)] if fits else []
        bias, biased = self._try_bias(whole, fits, taken) if fits else (None, None)
        if biased is not None:
            judgements = [biased]
        mixture = whole.mixtures[taken]
        if bias is not None:
            mixture = fit_class_bias(self._inner, mixture, precision=bias)
        if len(self._outer_rows):
            held = self._held_out(whole, taken, mixture)
            tuned_lost = taken == TUNED and held.gains[0].interval[1] < 0
            if tuned_lost and not settings.keep_tuned:
                taken, chosen_by = UNIFORM, "held out"
                mixture = whole.mixtures[UNIFORM]
                if bias is not None:
                    mixture = fit_class_bias(self._inner, mixture, precision=bias)
                held = replace(self._held_out(whole, taken, mixture), was_used=True)
            judgements.append(held)
        fitted = whole.shrunk
        return TuneResult(
            weights=mixture,
            method=settings.method,
            seed=settings.seed,
            gap_in_sample=self._gap_in_sample(mixture),
            judgements=tuple(judgements),
            num_evaluations=whole.num_evaluations,
            trace=fitted.search.trace,
            was_interrupted=whole.was_interrupted,
            chosen_by=chosen_by,
            shrinkage=fitted.shrinkage if taken != UNIFORM else 0.0,
            dropped=fitted.dropped,
            bias_precision=bias,
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

    def _choose(self, fits: Sequence[_Fit]) -> tuple[str, str]:
        """Return which mixture is taken, and what decided it."""
        settings = self._settings
        names = [TUNED, *([PER_CLASS] if settings.per_class else [])]
        if settings.keep_tuned:
            return TUNED, "keep tuned"
        if self._inner.num_videos < FEW_VIDEOS_TO_TUNE:
            return UNIFORM, "too few videos"
        if not fits:
            return UNIFORM, "no folds"
        scores = self._fold_scores(fits)
        scorer = Scorer(self._judged(), "probability")
        gaps = {name: scorer.gap_of(scores[name]) for name in [UNIFORM, *names]}
        # Equal is not better: the plain mean needs no reason.
        return max(gaps, key=gaps.__getitem__), "out of fold"

    def _judged(self) -> Candidates:
        return self._inner.select(np.concatenate(self._folds))

    def _fold_scores(self, fits: Sequence[_Fit]) -> dict[str, NDArray[np.float32]]:
        """Return the scores of all candidates by every contender, each fitted without them."""
        found = {name: Growing() for name in fits[0].applied}
        for fit, fold in zip(fits, self._folds, strict=True):
            own = self._inner.select(fold)
            for name, apply in fit.applied.items():
                found[name].append(apply(own))
        return {name: scores.join() for name, scores in found.items()}

    def _out_of_fold(self, fits: Sequence[_Fit], taken: str) -> HeldOutResult:
        scores = _first(self._fold_scores(fits), taken)
        return self._judge("out of fold", self._judged(), scores)

    def _held_out(self, whole: _Fit, taken: str, mixture: MixtureWeights) -> HeldOutResult:
        outer = self._candidates.select(self._outer_rows)
        scores = {name: mapped.concatenate([apply(outer)]) for name, apply in whole.applied.items()}
        first, own = _first(scores, taken), None
        if mixture.class_bias:
            own = self._ranked([mixture], {0: self._outer_rows})
        return self._judge("held out", outer, first, own)

    def _judge(
        self,
        name: str,
        candidates: Candidates,
        scores: Mapping[str, NDArray[np.float32]],
        biased: Candidates | None = None,
    ) -> HeldOutResult:
        scorers = {
            label: Scorer(candidates.with_scores(mixed), "probability")
            for label, mixed in scores.items()
        }
        if biased is not None:
            label = next(iter(scorers)) + BIASED
            scorers = {label: Scorer(biased, "probability"), **scorers}
        settings = self._settings
        return judge(name, scorers, num_resamples=settings.bootstrap, seed=settings.seed)

    def _try_bias(
        self, whole: _Fit, fits: Sequence[_Fit], taken: str
    ) -> tuple[float | None, HeldOutResult | None]:
        """Return the precision of a class bias that raises GAP out of fold for certain, if any."""
        mixture = whole.mixtures[taken]
        num_videos = self._inner.num_videos
        if (
            not self._settings.class_bias
            or self._blocks is None
            or mixture.space != "logit"
            or num_videos < FEW_VIDEOS_TO_TUNE
        ):
            return None, None
        biased: dict[float, list[MixtureWeights]] = {
            precision: [] for precision in allowed_precisions(num_videos)
        }
        scores = {precision: Growing() for precision in biased}
        for fit, fold in zip(fits, self._folds, strict=True):
            learned = self._inner.select(np.setdiff1d(np.arange(num_videos), fold))
            own = self._inner.select(fold)
            for precision, mixtures in biased.items():
                mixtures.append(fit_class_bias(learned, fit.mixtures[taken], precision=precision))
                scores[precision].append(apply_mixture(mixtures[-1])(own))
        judged = self._judged()
        scorer = Scorer(judged, "probability")
        gaps = {precision: scorer.gap_of(found.join()) for precision, found in scores.items()}
        best = max(gaps, key=gaps.__getitem__)
        # The candidates may lack a class that only its bias lifts: the verdict ranks all scores.
        rows = {number: self._inner_rows[fold] for number, fold in enumerate(self._folds)}
        ranked = self._ranked(biased[best], rows)
        order = np.argsort(np.concatenate(list(rows.values())))
        unbiased = _first(self._fold_scores(fits), taken)
        result = self._judge("out of fold", judged, unbiased, ranked.select(np.argsort(order)))
        return (best, result) if result.gains[0].is_real else (None, None)

    def _ranked(
        self, mixtures: Sequence[MixtureWeights], rows: Mapping[int, NDArray[np.int64]]
    ) -> Candidates:
        """Return the exactly ranked pairs of the videos of each mixture, in the order of rows."""
        assert self._blocks is not None  # noqa: S101 - asked for with a bias only
        owners = np.full(self._candidates.num_videos, -1)
        for number, own in rows.items():
            owners[own] = number
        return rank_exactly(self._blocks(), mixtures, owners, top_k=self._candidates.top_k)

    def _gap_in_sample(self, mixture: MixtureWeights) -> float:
        if mixture.class_bias:
            return Scorer(self._ranked([mixture], {0: self._inner_rows}), "probability").gap([1])
        return Scorer(self._inner, "probability").gap_of(apply_mixture(mixture)(self._inner))


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
    scorers: Mapping[str, Scorer],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> HeldOutResult:
    """Compare one way of scoring with others on the same videos.

    Args:
        name: What the videos are to the mixture.
        scorers: Scorers of one member each, all over the same videos in one order; the first is
            compared with the rest.
        num_resamples: Bootstrap resamples of the videos.
        seed: Seed of the bootstrap.

    Returns:
        GAPs and gains.
    """
    ordered = list(scorers.values())
    gaps = [scorer.gap([1]) for scorer in ordered]
    resampled = paired_differences(
        [(scorer, [1]) for scorer in ordered], num_resamples=num_resamples, seed=seed
    )
    tail = (1 - _CONFIDENCE) / 2
    gains = []
    for label, gap, resample in list(zip(scorers, gaps, resampled, strict=True))[1:]:
        low, high = np.nanquantile(resampled[0] - resample, [tail, 1 - tail]).tolist()
        gains.append(Gain(label, gap, gaps[0] - gap, (low, high)))
    error = float(np.nanstd(resampled[0], ddof=1))
    num_videos = ordered[0].candidates.num_videos
    return HeldOutResult(name, next(iter(scorers)), num_videos, gaps[0], error, tuple(gains))


def _first(scores: Mapping[str, NDArray[np.float32]], taken: str) -> dict[str, Any]:
    """Return the scores with those of the mixture taken first."""
    return {
        taken: scores[taken],
        **{name: found for name, found in scores.items() if name != taken},
    }


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
