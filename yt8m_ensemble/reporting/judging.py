"""What prediction caches say of members and their mixture, on videos that nothing was tuned on.

Reads caches, runs no model. Numbers only: `panels` puts them into words.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.mixing import mix
from yt8m_ensemble.options.shared import WeightsOptions
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.storage.mixtures import choose_mixture
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer, split_videos
from yt8m_ensemble.tuning.calibration import ReliabilityOf, measure_reliability
from yt8m_ensemble.tuning.diversity import MIXTURE, Comparison, best_candidates, compare_members
from yt8m_ensemble.tuning.equivalence import Equivalence, assess_equivalence
from yt8m_ensemble.tuning.scoring import paired_differences
from yt8m_ensemble.tuning.weight_sweep import WeightSweep, sweep_weights
from yt8m_ensemble.values import MixtureWeights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.reporting.sources import Sources
    from yt8m_ensemble.storage.prediction_set import PredictionSet
    from yt8m_ensemble.tuning import Candidates
    from yt8m_ensemble.values import Labels

_NUM_RESAMPLES = 1000
_TAIL = 0.025
_NUM_CLASSES_LISTED = 12
_NUM_VIDEOS_LISTED = 8
_LAST = "last checkpoint, "
_SWEPT_SCORES = 60_000
"""Videos times members that the weights are swept on: enough for a picture."""


@dataclass(frozen=True)
class StepGain:
    """One step from the best single model to the bundle.

    Args:
        name: The way of scoring.
        gap: Its GAP.
        difference: GAP minus that of the step before; `None` of the first.
        interval95: Paired bootstrap interval of the difference; of the first step, of its GAP.
        equivalence: Whether the step before and this one are equivalent; of storage alone.
    """

    name: str
    gap: float
    difference: float | None
    interval95: tuple[float, float]
    equivalence: Equivalence | None = None


@dataclass(frozen=True)
class Flip:
    """A video whose best class became right or wrong by mixing.

    Args:
        video_id: The video.
        is_better: Whether the mixture is right.
        before: Best class of the best single model.
        after: Best class of the mixture.
        labels: True classes.
    """

    video_id: str
    is_better: bool
    before: int
    after: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Judged:
    """What the caches of one ensemble say.

    Args:
        videos: `held out`, or `all` where nothing tells which videos were tuned on.
        num_videos: How many were judged on.
        weights: The mixture; uniform if there is no file of weights.
        gaps: By column (`last`, `averaged`, `bundle`), GAP of each member and of the mixture.
        steps: From the best single model to the bundle.
        over_single: The last step against the best single model: difference and its paired 95 %
            interval; `None` of one member.
        comparison: How members differ.
        flips: Some videos that mixing turned right or wrong.
        reliability: Of the best single model and of the mixture; empty of truncated caches.
        sweep: GAP over the weights; `None` of one member.
    """

    videos: str
    num_videos: int
    weights: MixtureWeights
    gaps: Mapping[str, Mapping[str, float]]
    steps: tuple[StepGain, ...]
    over_single: tuple[float, tuple[float, float]] | None
    comparison: Comparison
    flips: tuple[Flip, ...]
    reliability: Mapping[str, ReliabilityOf]
    sweep: WeightSweep | None


def has_labels(paths: Sequence[str]) -> bool:
    """Return whether one of the caches holds labels."""
    found = False
    for path in paths:
        with open_predictions(path) as opened:
            found = found or opened.labels is not None
    return found


def scored_members(paths: Sequence[str]) -> set[str]:
    """Return the members of the caches."""
    found: set[str] = set()
    for path in paths:
        with open_predictions(path) as opened:
            found |= set(opened.members)
    return found


@contextmanager
def open_judged(
    sources: Sources, *, bundle: bool = False
) -> Iterator[tuple[PredictionSet, MixtureWeights, NDArray[np.int64]]]:
    """Open the caches to judge on.

    Args:
        sources: Files, with scores.
        bundle: Open the scores of the bundle where they are there.

    Yields:
        The caches, the mixture, and the rows of the videos that it was not tuned on; all rows where
        the weights do not tell.
    """
    paths = [sources.stored] if bundle and sources.stored else sources.scores
    with open_prediction_set(paths) as opened:
        weights = MixtureWeights.uniform(opened.members, space="logit")
        if sources.weights:
            given = WeightsOptions(weights=sources.weights)
            weights = choose_mixture(opened.members, given, may_leave_out=True)
        rows = np.arange(len(opened.video_ids))
        holdout = weights.details.get("holdout")
        if holdout:
            seed = int(weights.details.get("seed", 0))
            _, rows = split_videos(opened.video_ids, fraction=float(holdout), seed=seed)
        yield opened, weights, rows


def judge_sources(sources: Sources, *, margin: float, seed: int = 0) -> Judged:
    """Compute what the caches of an ensemble say.

    Args:
        sources: Files, with labeled scores.
        margin: Difference of GAP that counts as none.
        seed: Seed of the bootstrap.

    Returns:
        All numbers.
    """
    with open_judged(sources) as (opened, weights, rows):
        every = _candidates(opened, weights)
        candidates = every.select(rows)
        labels = opened.labels.select(rows)
        video_ids = opened.video_ids
        reliability: dict[str, ReliabilityOf] = {}
        comparison = compare_members(candidates, labels, weights, num_listed=_NUM_CLASSES_LISTED)
        if opened.top_k is None:
            mixtures = {MIXTURE: weights}
            if len(weights.names) > 1:
                mixtures = {
                    comparison.best_single: _only(weights, comparison.best_single)
                } | mixtures
            blocks = opened.blocks(names=weights.names)
            reliability = measure_reliability(blocks, mixtures, rows)
    columns = {"averaged" if sources.last else "float32": candidates}
    for column, path in (("last", sources.last), ("bundle", sources.stored)):
        found = _other(path, weights, video_ids, rows) if path else None
        if found is not None:
            columns[column] = found
    order = [name for name in ("last", "averaged", "float32", "bundle") if name in columns]
    is_held_out = len(rows) < len(video_ids)
    systems = _systems(columns, weights, comparison.best_single)
    is_mixed = len(weights.names) > 1
    steps, over_single = _steps(systems, is_mixed=is_mixed, margin=margin, seed=seed)
    tuned_on = np.setdiff1d(np.arange(len(video_ids)), rows) if is_held_out else rows
    return Judged(
        videos="held out" if is_held_out else "all",
        num_videos=len(rows),
        weights=weights,
        gaps={name: _gaps(columns[name], weights) for name in order},
        steps=steps,
        over_single=over_single,
        comparison=comparison,
        flips=_flips(candidates, labels, weights, comparison),
        reliability=reliability,
        sweep=_sweep(every.select(tuned_on), weights),
    )


def _candidates(opened: PredictionSet, weights: MixtureWeights) -> Candidates:
    found = opened.candidates(per_class=bool(weights.class_values), bias=weights.class_bias)
    return found.select_members([opened.members.index(name) for name in weights.names])


def _other(
    path: str, weights: MixtureWeights, video_ids: NDArray[np.bytes_], rows: NDArray[np.int64]
) -> Candidates | None:
    """Return the candidates of another cache; `None` if it is of other videos or members."""
    with open_prediction_set([path]) as opened:
        if not np.array_equal(opened.video_ids, video_ids) or not set(weights.names) <= set(
            opened.members
        ):
            return None
        return _candidates(opened, weights).select(rows)


def _only(weights: MixtureWeights, name: str) -> MixtureWeights:
    values = tuple(float(name == member) for member in weights.names)
    return MixtureWeights(weights.names, values)


def _mixed(candidates: Candidates, weights: MixtureWeights) -> Candidates:
    return candidates.with_scores(
        mix(list(candidates.scores), weights, class_ids=candidates.class_ids)
    )


def _gaps(candidates: Candidates, weights: MixtureWeights) -> dict[str, float]:
    scorer = Scorer(candidates, "probability")
    singles = np.eye(len(weights.names))
    gaps = {name: scorer.gap(one) for name, one in zip(weights.names, singles, strict=True)}
    return gaps | {MIXTURE: scorer.gap_of(_mixed(candidates, weights).scores[0])}


def _systems(
    columns: Mapping[str, Candidates], weights: MixtureWeights, best: str
) -> dict[str, Candidates]:
    """Return what each step scores, in order; the best single model first."""
    wide = columns.get("averaged", columns.get("float32"))
    assert wide is not None  # noqa: S101 - made by the only caller
    single = _only(weights, best)
    systems = {}
    if "last" in columns and not np.array_equal(
        _mixed(columns["last"], single).scores, _mixed(wide, single).scores
    ):
        systems[f"{_LAST}{best}"] = _mixed(columns["last"], single)
    systems[f"averaged, {best}" if systems else best] = _mixed(wide, single)
    uniform = MixtureWeights.uniform(weights.names, space=weights.space)
    if len(weights.names) > 1:
        systems[f"uniform, {weights.space}"] = _mixed(wide, uniform)
        if weights.values != uniform.values or weights.num_classes:
            bias = " and class bias" if weights.class_bias else ""
            systems[f"tuned weights{bias}"] = _mixed(wide, weights)
    if "bundle" in columns:
        systems["as stored in the bundle"] = _mixed(columns["bundle"], weights)
    return systems


def _steps(
    systems: Mapping[str, Candidates], *, is_mixed: bool, margin: float, seed: int
) -> tuple[tuple[StepGain, ...], tuple[float, tuple[float, float]] | None]:
    rankings = [Scorer(side, "probability").ranking([1]) for side in systems.values()]
    gaps = [ranking.gap for ranking in rankings]
    resampled = paired_differences(rankings, num_resamples=_NUM_RESAMPLES, seed=seed)

    def interval(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.nanquantile(values, [_TAIL, 1 - _TAIL]).tolist()
        return low, high

    names = list(systems)
    steps = [StepGain(names[0], gaps[0], None, interval(resampled[0]))]
    for place in range(1, len(names)):
        equivalence = None
        if names[place] == "as stored in the bundle":
            pair = [systems[name] for name in names[place - 1 : place + 1]]
            equivalence = assess_equivalence(pair[0], pair[1], margin=margin, seed=seed)
        steps.append(
            StepGain(
                names[place],
                gaps[place],
                gaps[place] - gaps[place - 1],
                interval(resampled[place] - resampled[place - 1]),
                equivalence,
            )
        )
    single = next(place for place, name in enumerate(names) if not name.startswith(_LAST))
    if single == len(names) - 1 or not is_mixed:
        return tuple(steps), None
    over = interval(resampled[-1] - resampled[single])
    return tuple(steps), (gaps[-1] - gaps[single], over)


def _flips(
    candidates: Candidates, labels: Labels, weights: MixtureWeights, comparison: Comparison
) -> tuple[Flip, ...]:
    member = weights.names.index(comparison.best_single)
    before = best_candidates(candidates, candidates.scores[member])
    after = best_candidates(candidates, _mixed(candidates, weights).scores[0])
    right = candidates.hits[before], candidates.hits[after]
    flips = []
    for is_better in (True, False):
        turned = right[1] & ~right[0] if is_better else right[0] & ~right[1]
        for row in np.flatnonzero(turned)[:_NUM_VIDEOS_LISTED].tolist():
            true = labels.class_ids[labels.indptr[row] : labels.indptr[row + 1]]
            flips.append(
                Flip(
                    labels.video_ids[row].decode(errors="replace"),
                    is_better,
                    int(candidates.class_ids[before[row]]),
                    int(candidates.class_ids[after[row]]),
                    tuple(true.tolist()),
                )
            )
    return tuple(flips)


def _sweep(candidates: Candidates, weights: MixtureWeights) -> WeightSweep | None:
    num_members = len(weights.names)
    if num_members == 1:
        return None
    few = np.arange(min(candidates.num_videos, max(200, _SWEPT_SCORES // num_members)))
    return sweep_weights(Scorer(candidates.select(few), weights.space), weights.array)
