"""`tune-weights`: cached predictions in, mixture weights and their gain on other videos out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.storage import PredictionsFile, open_predictions, predictions_digest
from yt8m_ensemble.tuning import TuneResult, collect_candidates, tune
from yt8m_ensemble.tuning.judging import NUM_FOLDS, NUM_RESAMPLES
from yt8m_ensemble.values import Labels, Progress, Space, check_aligned, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_ROWS = 256


@dataclass(frozen=True)
class TuneWeightsResult:
    """Say what was tuned and where it went.

    Args:
        path: The mixture-weights file; `None` after a dry run.
        members: Member names.
        result: The mixture and what it is worth; `None` after a dry run.
    """

    path: str | None
    members: tuple[str, ...]
    result: TuneResult | None


def tune_weights(
    *,
    predictions: Sequence[str],
    out: str | None = None,
    space: Space | Literal["auto"] = "auto",
    method: str = "grid",
    step: float = 0.05,
    holdout: float = 0.5,
    folds: int = NUM_FOLDS,
    bootstrap: int = NUM_RESAMPLES,
    per_class: bool = False,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> TuneWeightsResult:
    """Choose mixture weights on cached predictions.

    Args:
        predictions: Prediction files of the same videos; their members are tuned together.
        out: Mixture-weights file to write; `None` only reports.
        space: Mixing space, or `auto` to choose it on the videos tuned on.
        method: Search method.
        step: Resolution of the weights.
        holdout: Share of videos that are not tuned on, but judged on; 0 for none.
        folds: Parts of the other videos, each judged under weights tuned on the rest; 0 for none.
        bootstrap: Resamples behind every interval.
        per_class: Also judge weights that differ from class to class.
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
        PredictionsError: If a file is unfinished, lacks labels, or differs in classes.
        UsageError: If the options make no sense.
    """
    if out:
        files.check_absent(out, force=force)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_predictions(path)) for path in predictions]
        members = tuple(name for file in opened for name in file.members)
        labels = check_predictions(opened)
        if dry_run:
            return TuneWeightsResult(None, members, None)
        candidates = collect_candidates(
            read_blocks(opened, labels, progress), names=members, per_class=per_class
        )
        result = tune(
            candidates,
            opened[0].video_ids,
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
        result = _describe(result, opened, holdout, folds)
    if out:
        files.write_text(out, result.weights.to_json(), force=force)
    return TuneWeightsResult(out, members, result)


def check_predictions(opened: Sequence[PredictionsFile]) -> Labels:
    """Refuse prediction files that cannot be scored together.

    Args:
        opened: The files.

    Returns:
        The labels of their videos.

    Raises:
        AlignmentError: If they hold different videos.
        PredictionsError: If a file is unfinished or unlabelled, or classes or members collide.
    """
    first = opened[0]
    members = [name for file in opened for name in file.members]
    twice = sorted({name for name in members if members.count(name) > 1})
    if twice:
        msg = f"Member '{twice[0]}' is listed twice. Give each prediction file once."
        raise PredictionsError(msg, members=twice)
    for file in opened:
        if not file.is_complete:
            msg = (
                f"'{file.path}' is unfinished: {len(file.shards)} shards, {file.num_videos} "
                "videos. Run the same `yt8m-ens predict` again to finish it."
            )
            raise PredictionsError(msg, path=file.path, shards=len(file.shards))
        if file.num_classes != first.num_classes:
            msg = (
                f"'{first.path}' scores {first.num_classes} classes, '{file.path}' "
                f"{file.num_classes}. Mix members of one vocabulary."
            )
            raise PredictionsError(msg, classes=(first.num_classes, file.num_classes))
        check_aligned(first.video_ids, file.video_ids, names=(first.path, file.path))
    for file in opened:
        labels = file.labels
        if labels is not None:
            return labels
    msg = (
        f"'{first.path}' holds no labels (the test split has none), so nothing can be scored. "
        "Predict labelled records."
    )
    raise PredictionsError(msg, path=first.path)


def read_blocks(
    opened: Sequence[PredictionsFile], labels: Labels, progress: Progress
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield the scores of all members and the labels, block by block of videos.

    Args:
        opened: Files that passed `check_predictions`.
        labels: What it returned.
        progress: Told the videos read.

    Yields:
        Scores `(M, B, C)` and labels `(B, C)`.
    """
    num_videos = opened[0].num_videos
    for start in range(0, num_videos, _ROWS):
        stop = min(start + _ROWS, num_videos)
        scores = np.stack(
            [file.scores(m, start, stop) for file in opened for m in range(len(file.members))]
        )
        yield scores, labels.to_dense(start, stop)
        progress("read predictions", stop, num_videos, unit="videos")


def _describe(
    result: TuneResult, opened: Sequence[PredictionsFile], holdout: float, folds: int
) -> TuneResult:
    details = {
        "method": result.method,
        "gap_in_sample": result.gap_in_sample,
        "gap_out_of_fold": result.gap_out_of_fold,
        "gap_held_out": result.gap_held_out,
        "seed": result.seed,
        "holdout": holdout,
        "folds": folds,
        "predictions": {file.path: predictions_digest(file.path) for file in opened},
    }
    return replace(result, weights=replace(result.weights, details=details))
