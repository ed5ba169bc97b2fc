"""`tune-weights`: cached predictions in, mixture weights and their gain on other videos out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from yt8m_ensemble import files
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.plotting import draw_tuning
from yt8m_ensemble.storage.prediction_set import open_prediction_set
from yt8m_ensemble.tuning import Scorer, TuneResult, split_videos, tune
from yt8m_ensemble.tuning.validation import NUM_FOLDS, NUM_RESAMPLES
from yt8m_ensemble.tuning.weight_sweep import sweep_weights
from yt8m_ensemble.values import Progress, Space, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

NARROW = 1e-4
"""Below this width the ends of a certified interval are the same GAP for any practical purpose."""


@dataclass(frozen=True)
class Certificate:
    """Say what top-K predictions prove about the GAP of the full scores.

    Args:
        kept: Scores kept a video and member.
        videos: `held out`, or `in sample` if none were.
        low: No full scores with this top K give the tuned mixture a lower GAP,
        high: or a higher one.
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
class TuneWeightsResult:
    """Say what was tuned and where it went.

    Args:
        path: The mixture-weights file; `None` after a dry run.
        members: Member names.
        result: The mixture and what it is worth; `None` after a dry run.
        certificate: What is certain if the predictions are truncated; else `None`.
    """

    path: str | None
    members: tuple[str, ...]
    result: TuneResult | None
    certificate: Certificate | None = None


def tune_weights(
    *,
    predictions: Sequence[str],
    out: str | None = None,
    plot: str | None = None,
    space: Space | Literal["auto"] = "auto",
    method: str = "grid",
    step: float = 0.05,
    holdout: float = 0.5,
    folds: int = NUM_FOLDS,
    bootstrap: int = NUM_RESAMPLES,
    per_class: bool = False,
    intersect: bool = False,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> TuneWeightsResult:
    """Choose mixture weights on cached predictions.

    Args:
        predictions: Prediction files of the same videos; their members are tuned together.
        out: Mixture-weights file to write; `None` only reports.
        plot: PNG to draw: GAP over the weights, and the way of the search.
        space: Mixing space, or `auto` to choose it on the videos tuned on.
        method: Search method.
        step: Resolution of the weights.
        holdout: Share of videos that are not tuned on, but judged on; 0 for none.
        folds: Parts of the other videos, each judged under weights tuned on the rest; 0 for none.
        bootstrap: Resamples behind every interval.
        per_class: Also fit weights that differ from class to class, and take them if GAP out of
            fold is higher with them; the predictions must hold all scores.
        intersect: Keep the videos that all files hold, instead of refusing files that differ.
        seed: Seed of the split, the folds, the search and the bootstrap.
        force: Replace an output that exists.
        dry_run: Check the inputs and write nothing.
        progress: Told the videos read.

    Returns:
        The weights and their gains.

    Raises:
        AlignmentError: If the files hold different videos.
        MixtureWeightsError: If the result could not be a mixture.
        OutputExistsError: If `out` exists and `force` is not set.
        PredictionsError: If a file is unfinished, lacks labels, differs in classes, or keeps too
            few scores.
        UsageError: If the options make no sense.
    """
    for path in filter(None, (out, plot)):
        files.check_absent(path, force=force)
    with open_prediction_set(predictions, intersect=intersect) as opened:
        if dry_run:
            return TuneWeightsResult(None, opened.members, None)
        if per_class and opened.top_k:
            msg = (
                f"The predictions keep the top {opened.top_k} scores of a video; weights by class "
                "need all, which `yt8m-ens predict --cache` keeps by default."
            )
            raise PredictionsError(msg, top_k=opened.top_k)
        candidates, truncated = opened.candidates(per_class=per_class, progress=progress)
        result = tune(
            candidates,
            opened.video_ids,
            space=space,
            method=method,
            step=step,
            holdout=holdout,
            num_folds=folds,
            num_resamples=bootstrap,
            per_class=per_class,
            seed=seed,
            progress=progress,
        )
        details = {
            "method": method,
            "gap_in_sample": result.gap_in_sample,
            "gap_out_of_fold": result.gap_out_of_fold,
            "gap_held_out": result.gap_held_out,
            "seed": seed,
            "holdout": holdout,
            "folds": folds,
            "predictions": opened.digests(),
        }
        tuned_on, held_out = split_videos(opened.video_ids, fraction=holdout, seed=seed)
        inner = candidates.select(tuned_on)
        certificate = None
        if truncated is not None and opened.top_k is not None:
            judged = held_out if len(held_out) else tuned_on
            name = "held out" if len(held_out) else "in sample"
            low, high = truncated.select(judged).gap_interval(result.weights)
            certificate = Certificate(opened.top_k, name, low, high)
    result = replace(result, weights=replace(result.weights, details=details))
    if out:
        files.write_text(out, result.weights.to_json(), force=force)
    if plot:
        sweep = sweep_weights(Scorer(inner, result.weights.space), result.weights.array)
        title = f"{result.method}, {result.weights.space} space, {inner.num_videos} videos tuned on"
        draw_tuning(plot, sweep, result.trace, title=title, force=force)
    return TuneWeightsResult(out, result.weights.names, result, certificate)
