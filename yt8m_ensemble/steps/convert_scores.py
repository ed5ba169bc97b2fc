"""`convert scores`: scores of any origin become a prediction cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble import data, files
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.options import ConvertScoresOptions, command
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.storage.layout import SCORES_DIGEST
from yt8m_ensemble.storage.score_files import (
    ScoreFile,
    align_videos,
    name_members,
    open_score_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yt8m_ensemble.values import Labels

_ROWS = 256


@dataclass(frozen=True)
class ConvertedScores:
    """Result of `convert_scores`.

    Args:
        out: The cache.
        members: Member names.
        num_videos: Videos in it.
        num_classes: Classes C.
        top_k: Scores kept of a video and member; `None` if all.
        num_positives: Labels in it; `None` if none were given.
    """

    out: str
    members: tuple[str, ...]
    num_videos: int
    num_classes: int
    top_k: int | None
    num_positives: int | None


@command(ConvertScoresOptions)
def convert_scores(options: ConvertScoresOptions) -> ConvertedScores:
    """Turn scores of any origin into a prediction cache, as `predict_scores` writes it.

    Videos come in the order of the labels. What a printed list leaves out is bounded by its lowest
    score and half a unit of that score's last digit.

    Returns:
        What was written.

    Raises:
        AlignmentError: If files and labels hold different videos.
        DataError: If a file does not hold what its ending says.
        OutputExistsError: If `out` exists and `force` is not set.
        PredictionsError: If a file has other classes, or shorter lists than `top_k`.
    """
    return _convert(options, is_plan=False)


@command(ConvertScoresOptions)
def plan_convert_scores(options: ConvertScoresOptions) -> ConvertedScores:
    """Check the inputs of `convert_scores`; write nothing.

    Returns:
        What would be written.
    """
    return _convert(options, is_plan=True)


def _convert(options: ConvertScoresOptions, *, is_plan: bool) -> ConvertedScores:
    files.check_absent(options.out, force=options.force)
    members, num_classes = name_members(options.scores), options.num_classes
    with open_score_files(members, num_classes=num_classes, progress=options.progress) as opened:
        top_k = _choose_top_k(opened, options)
        labels = _read_labels(options)
        first = next(iter(opened.values()))
        source = first.path if labels is None else str(options.labels)
        wanted = first.video_ids if labels is None else labels.video_ids
        places, rows = align_videos(opened, wanted, source=source, intersect=options.intersect)
        truth = None if labels is None else labels.select(places)
        result = ConvertedScores(
            options.out,
            tuple(members),
            len(places),
            num_classes,
            top_k,
            None if truth is None else truth.num_positives,
        )
        if not is_plan:
            _write(options, opened, rows, wanted[places], truth, top_k)
    return result


def _choose_top_k(opened: Mapping[str, ScoreFile], options: ConvertScoresOptions) -> int | None:
    """Return how many scores to keep; `None` keeps all.

    Raises:
        PredictionsError: If a file keeps fewer than asked for.
    """
    lists = {file.path: file.shortest for file in opened.values() if file.shortest is not None}
    shortest = min(lists.values(), default=options.num_classes)
    wanted = options.top_k or shortest
    if wanted > shortest:
        path = min(lists, key=lambda path: lists[path] or 0) if lists else options.out
        msg = (
            f"'{path}' lists {shortest} scores of a video, fewer than `--top-k {wanted}`. Lower "
            "it, or leave it out."
        )
        raise PredictionsError(msg, path=path, shortest=shortest, top_k=wanted)
    return wanted if wanted < options.num_classes else None


def _read_labels(options: ConvertScoresOptions) -> Labels | None:
    if options.labels is None:
        return None
    if PurePath(options.labels).suffix.lower() == ".csv":
        return data.read_ground_truth_csv(options.labels, num_classes=options.num_classes)
    paths = files.expand_globs(options.labels, option="--labels")
    return data.read_labels(paths, num_classes=options.num_classes, progress=options.progress)


def _write(  # noqa: PLR0917 - what `_convert` has found
    options: ConvertScoresOptions,
    opened: Mapping[str, ScoreFile],
    rows: Mapping[str, NDArray[np.int64]],
    video_ids: NDArray[np.bytes_],
    labels: Labels | None,
    top_k: int | None,
) -> None:
    digests = [f"{SCORES_DIGEST}{files.sha256(file.path)}" for file in opened.values()]
    with PredictionsWriter(
        options.out,
        members=tuple(opened),
        digests=digests,
        num_classes=options.num_classes,
        top_k=top_k,
        has_bounds=top_k is not None and any(file.is_rounded for file in opened.values()),
        command="convert scores",
        force=options.force,
    ) as writer:
        for start in range(0, len(video_ids), _ROWS):
            stop = min(start + _ROWS, len(video_ids))
            places = [rows[name][start:stop] for name in opened]
            pairs = list(zip(opened.values(), places, strict=True))
            dense = None if labels is None else labels.to_dense(start, stop)
            if top_k is None:
                scores = [file.filled(at, options.num_classes) for file, at in pairs]
                writer.append(video_ids[start:stop], np.stack(scores), dense)
            else:
                writer.append_kept(
                    video_ids[start:stop], [file.kept(at, top_k) for file, at in pairs], dense
                )
            options.progress("convert", stop, len(video_ids), unit="videos")
