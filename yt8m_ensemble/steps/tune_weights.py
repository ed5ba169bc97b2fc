"""`tune-weights`: cached predictions in, mixture weights and their gain on other videos out."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.options import TuneOptions, command
from yt8m_ensemble.plotting import draw_reliability, draw_tuning
from yt8m_ensemble.storage.prediction_set import PredictionSet, open_prediction_set
from yt8m_ensemble.tuning import Scorer, TuneResult, TuneSettings, split_videos, tune
from yt8m_ensemble.tuning.calibration import Calibration, calibrate
from yt8m_ensemble.tuning.splits import split_into_folds
from yt8m_ensemble.tuning.thresholds import Objective, Thresholds, fit_thresholds
from yt8m_ensemble.tuning.weight_sweep import sweep_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from yt8m_ensemble.values import MixtureWeights

NARROW = 1e-4
"""Below this width the ends of a certified interval are the same GAP for any practical purpose."""


@dataclass(frozen=True)
class Certificate:
    """Bounds that top-K predictions set to the GAP of the full scores.

    Args:
        kept: Scores kept a video and member.
        videos: `held out`, or `in sample` if none were.
        low: Least GAP of the tuned mixture that full scores with this top K can have.
        high: Greatest GAP that they can have.
    """

    kept: int
    videos: str
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """The same in words."""
        width = self.high - self.low
        more = " Cache more with `yt8m-ens predict --cache-top-k` to narrow it."
        return (
            f"Of each member the top {self.kept} are known, so GAP {self.videos} is an estimate; "
            f"with all scores it lies between {self.low:.5f} and {self.high:.5f}, "
            f"certified to {width:.5f}.{more if width > NARROW else ''}"
        )


@dataclass(frozen=True)
class PlannedTuning:
    """Result of `plan_tune_weights`.

    Args:
        members: Member names.
        num_videos: Videos that there are to tune on and to judge on.
        merge_obstacle: Why no merged model could give these scores; `None` if nothing is known.
    """

    members: tuple[str, ...]
    num_videos: int
    merge_obstacle: str | None = None


@dataclass(frozen=True)
class TuneWeightsResult:
    """Result of `tune_weights`.

    Args:
        path: The mixture-weights file; `None` if none was asked for.
        members: Member names.
        result: The mixture and its gains.
        certificate: Bounds of its GAP if the predictions are truncated; else `None`.
        calibration: What its temperature changes; `None` if none was asked for.
        thresholds: Of the classes; `None` if none were asked for.
        num_trained_on: Videos among the records that members were trained on; `None` if these
            were not named.
        merge_obstacle: Why no merged model could give these scores; `None` if nothing is known.
    """

    path: str | None
    members: tuple[str, ...]
    result: TuneResult
    certificate: Certificate | None = None
    calibration: Calibration | None = None
    thresholds: Thresholds | None = None
    num_trained_on: int | None = None
    merge_obstacle: str | None = None


@command(TuneOptions)
def tune_weights(options: TuneOptions) -> TuneWeightsResult:
    """Choose mixture weights on cached predictions.

    Returns:
        The weights and their gains.

    Raises:
        AlignmentError: If the files hold different videos.
        MixtureWeightsError: If the result could not be a mixture.
        OutputExistsError: If `out` exists and `force` is not set.
        PredictionsError: If a file is unfinished, lacks labels, differs in classes, or keeps too
            few scores.
    """
    objective = Objective.parse(options.objective)
    with _opened(options) as opened:
        obstacle = opened.merge_obstacle
        by_class = options.per_class or (options.class_bias and options.space == "logit")
        candidates = opened.candidates(per_class=by_class, progress=options.progress)
        names = [field.name for field in fields(TuneSettings)]
        result = tune(
            candidates,
            opened.video_ids,
            TuneSettings(**{name: getattr(options, name) for name in names}),
            rank=opened.rank_exactly,
            progress=options.progress,
        )
        details = {
            "method": options.method,
            "gap_in_sample": result.gap_in_sample,
            "gap_out_of_fold": result.gap_out_of_fold,
            "gap_held_out": result.gap_held_out,
            "chosen_by": result.chosen_by,
            "shrinkage": result.shrinkage,
            "dropped": dict(result.dropped),
            "bias_precision": result.bias_precision,
            "judgements": [
                {
                    "name": judged.name,
                    "num_videos": judged.num_videos,
                    "gap": judged.gap,
                    "gains": [
                        {"over": g.over, "difference": g.difference, "interval95": [*g.interval]}
                        for g in judged.gains
                    ],
                }
                for judged in result.judgements
            ],
            "seed": options.seed,
            "holdout": options.holdout,
            "folds": options.folds,
            "predictions": opened.digests(),
        }
        tuned_on, held_out = split_videos(
            opened.video_ids, fraction=options.holdout, seed=options.seed
        )
        calibration = None
        if options.calibrated:
            calibration = calibrate(opened.blocks(), result.weights, tuned_on, held_out)
            result = replace(result, weights=calibration.weights)
        thresholds = None
        if options.thresholds:
            thresholds = _thresholds(opened, result.weights, tuned_on, objective, options)
        num_trained_on = _count_trained_on(opened.video_ids, options)
        if num_trained_on is not None:
            details["num_trained_on"] = num_trained_on
        inner = candidates.select(tuned_on) if options.plot else None
        del candidates
        certificate = None
        if opened.top_k is not None:
            judged = held_out if len(held_out) else tuned_on
            name = "held out" if len(held_out) else "in sample"
            interval = opened.gap_interval(result.weights, rows=judged, progress=options.progress)
            if interval is not None:
                certificate = Certificate(opened.top_k, name, *interval)
    result = replace(result, weights=replace(result.weights, details=details))
    if options.out:
        files.write_text(options.out, result.weights.to_json(), force=options.force)
    if options.plot and inner is not None:
        sweep = sweep_weights(Scorer(inner, result.weights.space), result.weights.array)
        title = f"{result.method}, {result.weights.space} space, {inner.num_videos} videos tuned on"
        draw_tuning(options.plot, sweep, result.trace, title=title, force=options.force)
    if calibration is not None and options.reliability:
        draw_reliability(options.reliability, calibration, force=options.force)
    if options.thresholds and thresholds is not None:
        files.write_text(options.thresholds, thresholds.to_json(), force=options.force)
    return TuneWeightsResult(
        options.out,
        result.weights.names,
        result,
        certificate=certificate,
        calibration=calibration,
        thresholds=thresholds,
        num_trained_on=num_trained_on,
        merge_obstacle=obstacle,
    )


def _thresholds(
    opened: PredictionSet,
    weights: MixtureWeights,
    tuned_on: NDArray[np.int64],
    objective: Objective,
    options: TuneOptions,
) -> Thresholds:
    folds = np.full(len(opened.video_ids), -1)
    parts = split_into_folds(
        opened.video_ids[tuned_on], num_folds=max(options.folds, 1), seed=options.seed
    )
    for number, rows in enumerate(parts):
        folds[tuned_on[rows]] = number
    return fit_thresholds(opened.blocks(), weights, objective, folds=folds)


def _count_trained_on(video_ids: NDArray[np.bytes_], options: TuneOptions) -> int | None:
    if options.train_data is None:
        return None
    # Loads TensorFlow, which nothing else here needs.
    from yt8m_ensemble.data import read_video_ids

    paths = files.expand_globs(options.train_data, option="--train-data")
    is_trained_on = np.zeros(len(video_ids), bool)
    for number, path in enumerate(paths, 1):
        # Records may be trained on without an id; an empty one is that of no video.
        is_trained_on |= np.isin(video_ids, read_video_ids([path], allow_absent=True))
        options.progress("look for videos trained on", number, len(paths), unit="files")
    return int(is_trained_on.sum())


@command(TuneOptions)
def plan_tune_weights(options: TuneOptions) -> PlannedTuning:
    """Check the inputs of `tune_weights`; tune and write nothing.

    Returns:
        What could be tuned.
    """
    with _opened(options) as opened:
        return PlannedTuning(opened.members, len(opened.video_ids), opened.merge_obstacle)


@contextmanager
def _opened(options: TuneOptions) -> Iterator[PredictionSet]:
    outputs = (options.out, options.plot, options.reliability, options.thresholds)
    for path in filter(None, outputs):
        files.check_absent(path, force=options.force)
    with open_prediction_set(options.predictions, intersect=options.intersect) as opened:
        wants = {"`--per-class`": options.per_class, "`--calibrated`": options.calibrated}
        if opened.top_k and any(wants.values()):
            needing = " and ".join(name for name, wanted in wants.items() if wanted)
            msg = (
                f"The predictions keep the top {opened.top_k} scores of a video; {needing} takes "
                "all scores, which `yt8m-ens predict --cache` keeps by default."
            )
            raise PredictionsError(msg, top_k=opened.top_k)
        yield opened
