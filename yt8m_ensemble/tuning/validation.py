"""Tune on some videos, judge on others: out-of-fold and held-out GAP with paired intervals.

Joins candidates, contenders and scoring; reads no file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.tuning.baselines import (
    BASELINES,
    ScoreFunction,
    apply_mixture,
    class_weights,
    search_spaces,
)
from yt8m_ensemble.tuning.scoring import Scorer, paired_differences
from yt8m_ensemble.values import SPACES, MixtureWeights, Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.tuning.candidates import Candidates
    from yt8m_ensemble.tuning.search import SearchResult

NUM_FOLDS = 5
NUM_RESAMPLES = 1000
TUNED = "tuned"
SHARED = "the same weights for all classes"
PER_CLASS = "per-class weights"
_CONFIDENCE = 0.95
_PACKAGED = tuple(f"uniform {space}" for space in SPACES)


@dataclass(frozen=True)
class Gain:
    """Compare the tuned mixture with another over the same videos.

    Args:
        over: What it is compared with.
        gap: GAP of the other.
        difference: GAP of the tuned mixture minus the other's.
        interval: Paired bootstrap interval of that difference, 95 %.
    """

    over: str
    gap: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_real(self) -> bool:
        """Whether the interval lies above 0."""
        return self.interval[0] > 0


@dataclass(frozen=True)
class HeldOutResult:
    """GAP of a tuned mixture on videos that its weights were not tuned on.

    Args:
        name: `out of fold`, or `held out`.
        num_videos: Videos judged on.
        gap: GAP of the tuned mixture.
        standard_error: Its bootstrap error; far larger than that of a paired difference.
        gains: Over every yardstick.
    """

    name: str
    num_videos: int
    gap: float
    standard_error: float
    gains: tuple[Gain, ...]

    @property
    def verdict(self) -> str:
        """Sentence that compares the tuned mixture with the best uniform one."""
        rival = max((g for g in self.gains if g.over in _PACKAGED), key=lambda g: g.gap)
        low, high = rival.interval
        worth = (
            "the gain is real."
            if rival.is_real
            else f"tuning gained nothing that can be told from chance; {rival.over} is as good."
            if high >= 0
            else f"tuning lost; use {rival.over}."
        )
        return (
            f"{self.name.capitalize()}, tuned weights change GAP by {rival.difference:+.5f} over "
            f"{rival.over} (95 % interval {low:+.5f} to {high:+.5f}): {worth}"
        )


@dataclass(frozen=True)
class TuneResult:
    """Result of `tune`: mixture weights and their GAP on several sets of videos.

    Args:
        weights: The mixture.
        method: The search method.
        seed: Seed of folds, search and bootstrap.
        gap_in_sample: GAP on the videos tuned on.
        judgements: On the videos of each fold under weights tuned on the other folds, and on the
            videos held out; either may be missing, not both.
        num_evaluations: Mixtures scored.
        trace: Each improvement as (mixtures scored so far, GAP in sample).
        was_interrupted: Whether a search was stopped before its end.
    """

    weights: MixtureWeights
    method: str
    seed: int
    gap_in_sample: float
    judgements: tuple[HeldOutResult, ...]
    num_evaluations: int
    trace: tuple[tuple[int, float], ...]
    was_interrupted: bool

    @property
    def gap_out_of_fold(self) -> float | None:
        """GAP of videos under weights tuned without them; `None` without folds."""
        return self._gap("out of fold")

    @property
    def gap_held_out(self) -> float | None:
        """GAP of the videos held out; `None` without any."""
        return self._gap("held out")

    @property
    def optimism(self) -> float | None:
        """GAP in sample minus out of fold, both over the videos tuned on; `None` without folds."""
        outside = self.gap_out_of_fold
        return None if outside is None else self.gap_in_sample - outside

    def _gap(self, name: str) -> float | None:
        return next((j.gap for j in self.judgements if j.name == name), None)


def split_videos(
    video_ids: NDArray[np.bytes_], *, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split videos into those to tune on and those to hold out, by a seeded hash of their ids.

    The side of a video depends on its id and the seed alone, so more videos never move others.

    Args:
        video_ids: Shape `(N,)`, bytes.
        fraction: Share to hold out, in `[0, 1)`; 0 holds out none.
        seed: Seed of the hash.

    Returns:
        Rows to tune on and rows to hold out, rising.

    Raises:
        UsageError: If the fraction leaves a side without a video that should have some.
    """
    held_out = hash_videos(video_ids, key=f"hold out {seed}") < fraction
    tuned, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not len(tuned) or (fraction > 0 and not len(held)):
        msg = (
            f"Holding out {fraction:g} of {len(video_ids)} videos leaves {len(tuned)} to tune on "
            f"and {len(held)} to judge on. Use more videos, or another `--holdout`."
        )
        raise UsageError(msg, num_videos=len(video_ids), holdout=fraction)
    return tuned, held


def hash_videos(video_ids: NDArray[np.bytes_], *, key: str) -> NDArray[np.float64]:
    """Return a number in `[0, 1)` for each video id, uniform over ids and fixed for a key."""
    digests = [
        hashlib.blake2b(i, digest_size=8, key=key.encode()).digest() for i in video_ids.tolist()
    ]
    return np.frombuffer(b"".join(digests), "<u8") / 2.0**64


def tune(
    candidates: Candidates,
    video_ids: NDArray[np.bytes_],
    *,
    space: Space | Literal["auto"] = "auto",
    method: str = "grid",
    step: float = 0.05,
    holdout: float = 0.5,
    num_folds: int = NUM_FOLDS,
    num_resamples: int = NUM_RESAMPLES,
    per_class: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> TuneResult:
    """Search weights (and the space), and judge them on videos that they were not tuned on.

    Args:
        candidates: Of all videos, collected with the same `per_class`.
        video_ids: Shape `(N,)`, bytes; they decide fold and side of each video.
        space: Mixing space; `auto` takes the one of highest GAP on the videos tuned on, in every
            fold anew.
        method: A key of `TUNERS`.
        step: Resolution of the weights.
        holdout: Share of videos that no search sees.
        num_folds: Parts of the other videos; 0 judges on the videos held out alone.
        num_resamples: Bootstrap resamples.
        per_class: Also fit weights that differ from class to class; they are taken if GAP out of
            fold is higher with them.
        seed: Seed of everything drawn.
        progress: Called with the number of searches done.

    Returns:
        The mixture and its judgements.

    Raises:
        PredictionsError: If no video has a label.
        UsageError: If an option is unknown, or there are fewer videos than folds.
    """
    if per_class and not num_folds:
        msg = (
            "Weights by class are only taken if GAP rises out of fold. Set `--folds` to 2 or more."
        )
        raise UsageError(msg, num_folds=num_folds)
    if space != "auto" and space not in SPACES:
        msg = f"There is no mixing space '{space}'; one of auto, {', '.join(SPACES)}."
        raise UsageError(msg, space=space)
    if num_folds == 1 or num_folds < 0 or not (num_folds or holdout):
        msg = (
            f"{num_folds} folds and {holdout:g} held out leave nothing to judge on. "
            "Set `--folds` to 2 or more, or `--holdout` above 0."
        )
        raise UsageError(msg, num_folds=num_folds, holdout=holdout)
    inner_rows, outer_rows = split_videos(video_ids, fraction=holdout, seed=seed)
    inner = candidates.select(inner_rows)
    if num_folds > inner.num_videos:
        msg = f"{num_folds} folds of {inner.num_videos} videos would be empty. Lower `--folds`."
        raise UsageError(msg, num_folds=num_folds, num_videos=inner.num_videos)
    if not inner.num_positives:
        msg = (
            f"None of the {inner.num_videos} videos to tune on has a label; nothing can be scored."
        )
        raise PredictionsError(msg, num_videos=inner.num_videos)
    spaces = SPACES if space == "auto" else (space,)

    def fit(some: Candidates) -> _Fit:
        weights, found = search_spaces(some, spaces, method=method, step=step, seed=seed)
        mixtures = {SHARED: weights}
        mixtures |= {PER_CLASS: class_weights(some, weights)} if per_class else {}
        applied = {name: apply_mixture(mixture) for name, mixture in mixtures.items()}
        applied |= {name: contender(some) for name, contender in BASELINES.items()}
        return _Fit(mixtures, found, applied)

    progress("tune", 0, num_folds + 1, unit="searches")
    whole = fit(inner)
    judgements = []
    taken = SHARED
    if num_folds and not whole.was_interrupted:
        # By rank of the hash, so that folds are of one size.
        order = np.argsort(hash_videos(video_ids[inner_rows], key=f"fold {seed}"))
        parts = []
        for fold in range(num_folds):
            progress("tune", fold + 1, num_folds + 1, unit="searches")
            inside, outside = order[fold::num_folds], np.delete(order, np.s_[fold::num_folds])
            part = inner.select(inside)
            fitted = fit(inner.select(np.sort(outside)))
            parts.append({name: apply(part) for name, apply in fitted.applied.items()})
        judged = inner.select(np.concatenate([order[k::num_folds] for k in range(num_folds)]))
        scores = {name: np.concatenate([part[name] for part in parts]) for name in whole.applied}
        if per_class:
            scorer = Scorer(judged, "probability")
            taken = max((SHARED, PER_CLASS), key=lambda name: scorer.gap_of(scores[name]))
        judgements.append(
            judge(
                "out of fold",
                judged,
                _compared(scores, taken),
                num_resamples=num_resamples,
                seed=seed,
            )
        )
    if len(outer_rows):
        outer = candidates.select(outer_rows)
        scores = {name: apply(outer) for name, apply in whole.applied.items()}
        judgements.append(
            judge(
                "held out",
                outer,
                _compared(scores, taken),
                num_resamples=num_resamples,
                seed=seed,
            )
        )
    weights = whole.mixtures[taken]
    best = whole.found[weights.space]
    return TuneResult(
        weights=weights,
        method=method,
        seed=seed,
        gap_in_sample=Scorer(inner, "probability").gap_of(whole.applied[taken](inner)),
        judgements=tuple(judgements),
        num_evaluations=sum(found.num_evaluations for found in whole.found.values()),
        trace=best.trace,
        was_interrupted=whole.was_interrupted,
    )


def judge(
    name: str,
    candidates: Candidates,
    scores: Mapping[str, NDArray[np.float32]],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> HeldOutResult:
    """Compare one way of scoring with others on the same videos.

    Args:
        name: What the videos are to the tuned mixture.
        candidates: Candidates of the videos.
        scores: Scores of the candidates by name, each `(n,)`; the first is compared with the rest.
        num_resamples: Bootstrap resamples of the videos.
        seed: Seed of the bootstrap.

    Returns:
        GAPs and gains.
    """
    scorers = [Scorer(candidates.with_scores(mixed), "probability") for mixed in scores.values()]
    gaps = [scorer.gap([1]) for scorer in scorers]
    resampled = paired_differences(
        [(scorer, [1]) for scorer in scorers], num_resamples=num_resamples, seed=seed
    )
    tail = (1 - _CONFIDENCE) / 2
    gains = []
    for label, gap, resample in list(zip(scores, gaps, resampled, strict=True))[1:]:
        low, high = np.nanquantile(resampled[0] - resample, [tail, 1 - tail]).tolist()
        gains.append(Gain(label, gap, gaps[0] - gap, (low, high)))
    error = float(np.nanstd(resampled[0], ddof=1))
    return HeldOutResult(name, candidates.num_videos, gaps[0], error, tuple(gains))


def _compared(
    scores: Mapping[str, NDArray[np.float32]], taken: str
) -> dict[str, NDArray[np.float32]]:
    """Return the mixture taken first, as `TUNED`; without weights by class it has no sibling."""
    rest = {name: array for name, array in scores.items() if name != taken}
    return {TUNED: scores[taken], **rest}


@dataclass(frozen=True)
class _Fit:
    """What one set of videos taught: mixtures by name, the searches, and every contender."""

    mixtures: Mapping[str, MixtureWeights]
    found: Mapping[Space, SearchResult]
    applied: Mapping[str, ScoreFunction]

    @property
    def was_interrupted(self) -> bool:
        return any(found.was_interrupted for found in self.found.values())
