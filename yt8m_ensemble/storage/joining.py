"""Join the prediction files of several writers into one; never scores anything."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.storage.reader import PredictionsFile, open_predictions
from yt8m_ensemble.storage.writer import PredictionsWriter
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = 256


@dataclass(frozen=True)
class JoinedPredictions:
    """Result of `join_predictions`.

    Args:
        path: The file written.
        members: Member names.
        num_videos: Videos in all parts.
        num_shards: Shards in all parts.
    """

    path: str
    members: tuple[str, ...]
    num_videos: int
    num_shards: int


@dataclass(frozen=True)
class _Span:
    """One shard's rows in one part."""

    name: str
    part: PredictionsFile
    start: int
    stop: int


def join_predictions(
    parts: Sequence[str], out: str, *, force: bool = False, progress: Progress = no_progress
) -> JoinedPredictions:
    """Join prediction files of different videos by the same members.

    Shards come in the order of their names, whatever part holds them. An interrupted join goes on
    where it stopped.

    Args:
        parts: The files.
        out: The file to write.
        force: Replace an output that exists.
        progress: Called with the number of videos copied.

    Returns:
        What was joined.

    Raises:
        OutputExistsError: If `out` is complete and `force` is not set.
        PredictionsError: If parts are unfinished, of other members, or hold a shard or video twice.
    """
    with ExitStack() as stack:
        opened, spans = _open_parts(parts, stack)
        result = _result(out, opened, spans)
        with _writer(out, opened, spans, force=force) as writer:
            done = 0
            for span in spans:
                if span.name not in writer.finished_shards:
                    _copy(span, writer)
                    writer.end_shard(span.name)
                done += span.stop - span.start
                progress("merge predictions", done, result.num_videos, unit="videos")
    return result


def plan_join(parts: Sequence[str], out: str, *, force: bool = False) -> JoinedPredictions:
    """Check what `join_predictions` would join; write nothing.

    Args:
        parts: The files.
        out: The file that would be written.
        force: Whether an output that exists would be replaced.

    Returns:
        What would be joined.
    """
    with ExitStack() as stack:
        opened, spans = _open_parts(parts, stack)
        _writer(out, opened, spans, force=force)
        return _result(out, opened, spans)


def _open_parts(
    parts: Sequence[str], stack: ExitStack
) -> tuple[list[PredictionsFile], list[_Span]]:
    opened = [stack.enter_context(open_predictions(path)) for path in parts]
    _check(opened)
    spans = [
        _Span(name, part, start, stop)
        for part in opened
        for name, start, stop in zip(
            part.shards, (0, *part.shard_ends), part.shard_ends, strict=False
        )
    ]
    return opened, sorted(spans, key=lambda span: span.name)


def _result(
    out: str, opened: Sequence[PredictionsFile], spans: Sequence[_Span]
) -> JoinedPredictions:
    num_videos = sum(part.num_videos for part in opened)
    return JoinedPredictions(out, opened[0].header.members, num_videos, len(spans))


def _writer(
    out: str, opened: Sequence[PredictionsFile], spans: Sequence[_Span], *, force: bool
) -> PredictionsWriter:
    header = opened[0].header
    return PredictionsWriter(
        out,
        members=header.members,
        digests=header.digests,
        num_classes=header.num_classes,
        top_k=header.top_k or None,
        has_bounds=header.has_bounds,
        features=header.features,
        dtype=header.dtype,
        command="merge-predictions",
        shards=[span.name for span in spans],
        force=force,
    )


def _copy(span: _Span, writer: PredictionsWriter) -> None:
    part = span.part
    labels = part.labels
    for start in range(span.start, span.stop, _ROWS):
        stop = min(start + _ROWS, span.stop)
        ids, members = part.video_ids[start:stop], range(len(part.members))
        dense = None if labels is None else labels.to_dense(start, stop)
        if part.top_k:
            writer.append_kept(ids, [part.kept(m, start, stop) for m in members], dense)
        else:
            writer.append(ids, np.stack([part.scores(m, start, stop) for m in members]), dense)


def _check(opened: Sequence[PredictionsFile]) -> None:
    first = opened[0]
    seen: dict[str, str] = {}
    for part in opened:
        if part.header != first.header:
            msg = (
                f"'{part.path}' holds {part.header} but '{first.path}' {first.header}. "
                "Only parts of one `yt8m-ens predict` run can be joined."
            )
            raise PredictionsError(msg, paths=(first.path, part.path))
        if not part.is_complete:
            msg = (
                f"'{part.path}' is unfinished after {len(part.shards)} shards. "
                "Run the same `yt8m-ens predict` again to finish it."
            )
            raise PredictionsError(msg, path=part.path, shards=len(part.shards))
        for shard in part.shards:
            if shard in seen:
                msg = f"Shard '{shard}' is in '{seen[shard]}' and in '{part.path}'; give it once."
                raise PredictionsError(msg, shard=shard, paths=(seen[shard], part.path))
            seen[shard] = part.path
    video_ids = np.concatenate([part.video_ids for part in opened])
    unique, counts = np.unique(video_ids, return_counts=True)
    if len(unique) < len(video_ids):
        twice = unique[counts > 1]
        msg = f"{len(twice)} videos are in more than one shard, the first is {twice[0].decode()}."
        raise PredictionsError(msg, num_videos=len(twice))
