"""`predict`: a Kaggle CSV and cached scores of every member, in one pass over the records."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.data import estimate_num_records, shard_paths
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.inference import score_ahead
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.options import PredictOptions, command
from yt8m_ensemble.scoring.members import MemberScorer, shard_name
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER, format_submission
from yt8m_ensemble.values import Labels, Predictions, check_distinct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.inference import PooledVideos
    from yt8m_ensemble.loading.model import OpenedFile
    from yt8m_ensemble.storage import PredictionsWriter


@dataclass(frozen=True)
class PlannedPrediction:
    """Result of `plan_predict_scores`.

    Args:
        members: Names of the members that would be scored.
        record_files: The files that would be read.
        opened: The file that each model turned out to be, and its step.
    """

    members: tuple[str, ...]
    record_files: tuple[str, ...]
    opened: tuple[OpenedFile, ...]


@dataclass(frozen=True)
class PredictResult:
    """Result of `predict_scores` where it writes.

    Args:
        members: Names of the members that were scored.
        num_videos: Videos in the outputs.
        csv: The submission, if one was written.
        cache: The prediction file, if one was written.
        num_resumed: Videos among them whose scores an earlier run had left in the cache.
        depends_on_chance: Whether the scores vary from run to run.
        opened: The file that each model turned out to be, and its step.
        warnings: What the records hold that may not be expected.
    """

    members: tuple[str, ...]
    num_videos: int
    csv: str | None
    cache: str | None
    num_resumed: int = 0
    depends_on_chance: bool = False
    opened: tuple[OpenedFile, ...] = ()
    warnings: tuple[str, ...] = ()


@command(PredictOptions)
def predict_scores(options: PredictOptions) -> PredictResult | Predictions:
    """Score records with one or more models.

    A cache grows by whole record files. One that an interrupted run left is continued; the result
    is the same as of one unbroken run, because no batch spans two record files. A cache of the
    share in `shard` that is complete is left as it is, so that a scheduler may call twice.

    Returns:
        What was written; without `csv` and `cache`, the scores of every member in memory.

    Raises:
        MissingDependencyError: If Beam is asked for and not installed.
        ModelError: If the models differ in features or classes.
        OutputExistsError: If an output is there and complete, and `force` is not set.
        PredictionsError: If an unfinished cache is of other models, options or records.
    """
    return write_scores.run(options) if options.csv or options.cache else _in_memory(options)


@command(PredictOptions)
def write_scores(options: PredictOptions) -> PredictResult:
    """Score records into files; see `predict_scores`.

    Returns:
        What was written.

    Raises:
        UsageError: If no output is named.
    """
    if not options.csv and not options.cache:
        msg = "Nothing to write. Pass `--csv OUT`, `--cache OUT.h5`, or both."
        raise UsageError(msg)
    if options.runner == "beam":
        from yt8m_ensemble.scoring.beam import predict_on_beam

        done = predict_on_beam(options)
        return PredictResult(
            done.members,
            done.num_videos,
            options.csv,
            done.cache,
            num_resumed=done.num_resumed,
            depends_on_chance=done.depends_on_chance,
            opened=done.opened,
        )
    with _scorer(options) as (scorer, paths), ExitStack() as stack:
        result = PredictResult(
            scorer.members,
            0,
            options.csv,
            options.cache,
            depends_on_chance=scorer.depends_on_chance,
            opened=scorer.opened,
        )
        cache = options.cache
        if cache and options.shard is not None and not options.force:
            complete = _videos_of_complete(cache, scorer, paths, top_k=options.cache_top_k)
            if complete is not None:
                cache, result = None, replace(result, num_videos=complete, num_resumed=complete)
        if not (options.csv or cache):
            return result
        sinks = _Sinks(
            _Submission(options) if options.csv else None,
            _Cache(
                scorer.writer(cache, paths, top_k=options.cache_top_k, force=options.force), paths
            )
            if cache
            else None,
        )
        stack.enter_context(scorer)
        stack.enter_context(sinks)
        videos, resumed = _score(scorer, paths, sinks, options)
        return replace(
            result,
            num_videos=videos,
            num_resumed=max(resumed, result.num_resumed),
            warnings=scorer.warnings,
        )


@command(PredictOptions)
def plan_predict_scores(options: PredictOptions) -> PlannedPrediction:
    """Check what `predict_scores` would score; score nothing.

    Returns:
        The members and the record files.
    """
    if options.runner == "beam":
        from yt8m_ensemble.scoring.beam import check_beam

        check_beam(options)
    with _scorer(options) as (scorer, paths):
        if options.cache and options.runner == "local":
            scorer.writer(options.cache, paths, top_k=options.cache_top_k, force=options.force)
        return PlannedPrediction(scorer.members, tuple(paths), scorer.opened)


@contextmanager
def _scorer(options: PredictOptions) -> Iterator[tuple[MemberScorer, list[str]]]:
    """Yield the scorer of the models, not started yet, and the record files to score."""
    if options.csv:
        files.check_absent(options.csv, force=options.force)
    paths = files.expand_globs(options.data, option="--data")
    if options.shard is not None:
        paths = shard_paths(paths, *options.shard)
    with open_models(options.models, options) as opened:
        yield MemberScorer(opened, paths), paths


def _in_memory(options: PredictOptions) -> Predictions:
    with _scorer(options) as (scorer, paths), scorer:
        ids, scores, labels = [], [], []
        batches = scorer.batches(paths, batch_size=options.batch_size)
        total = estimate_num_records(paths)
        for videos, found in score_ahead(batches, scorer.members_of):
            ids.append(videos.video_ids)
            scores.append(found)
            labels.append(videos.labels)
            options.progress("predict", sum(map(len, ids)), total, unit="videos")
        classes = scorer.num_classes
        video_ids = np.concatenate(ids) if ids else np.zeros(0, "S1")
        shape = (len(scorer.members), 0, classes)
        return Predictions(
            scorer.members,
            video_ids,
            np.concatenate(scores, axis=1) if scores else np.zeros(shape, np.float32),
            Labels.from_dense(
                video_ids, np.concatenate(labels) if labels else np.zeros((0, classes), np.bool_)
            ),
        )


def _videos_of_complete(
    cache: str, scorer: MemberScorer, paths: Sequence[str], *, top_k: int | None
) -> int | None:
    """Return the videos of a cache that is already all it should become; `None` if it is not."""
    if not files.exists(cache):
        return None
    with open_predictions(cache) as found:
        is_same = (
            (found.members, found.digests) == (scorer.members, scorer.digests)
            and (found.num_classes, found.top_k) == (scorer.num_classes, top_k)
            and set(found.shards) == set(map(shard_name, paths))
        )
        return found.num_videos if found.is_complete and is_same else None


def _score(
    scorer: MemberScorer, paths: Sequence[str], sinks: _Sinks, options: PredictOptions
) -> tuple[int, int]:
    """Score what the outputs lack.

    Returns:
        The videos in the outputs, and those of them that were there before.
    """
    text, store = sinks.text, sinks.store
    # A submission is written anew, and needs every record; a cache only what it does not hold.
    wanted = list(paths) if text or store is None else store.missing
    resumed = store.num_resumed if store else 0
    done = 0 if text else resumed
    left = estimate_num_records(wanted)
    total = None if left is None else done + left

    def run(videos: PooledVideos) -> tuple[Any, Any]:
        if text and store:
            return scorer.both(videos)
        return (scorer.mixed(videos), None) if text else (None, scorer.members_of(videos))

    batches = scorer.batches(wanted, batch_size=options.batch_size)
    for videos, (mixed, members) in score_ahead(batches, run):
        if text:
            text.write(videos, mixed, path=wanted[videos.shard])
        if store:
            store.write(videos, members, path=wanted[videos.shard])
        done += len(videos.video_ids)
        options.progress("predict", done, total, unit="videos")
    return done, resumed


class _Sinks:
    """The outputs of one run, each appearing when all of it is written."""

    def __init__(self, text: _Submission | None, store: _Cache | None) -> None:
        self.text, self.store = text, store

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for sink in (self.text, self.store):
                if sink:
                    stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class _Submission:
    """The Kaggle CSV; it appears when all of it is written."""

    def __init__(self, options: PredictOptions) -> None:
        self._options = options
        self._ids: list[tuple[str, NDArray[np.bytes_]]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(
                files.atomic_file(str(self._options.csv), force=self._options.force)
            )
            self._file = stack.enter_context(files.open_binary(part, "wb"))
            self._file.write(SUBMISSION_HEADER.encode())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        with self._stack:
            if kind is not None:
                self._stack.pop_all().__exit__(kind, *error)
            elif self._ids:
                ids = [found for _, found in self._ids]
                check_distinct(
                    np.concatenate(ids),
                    names=[path for path, _ in self._ids],
                    ends=np.cumsum([len(found) for found in ids]).tolist(),
                )

    def write(self, videos: PooledVideos, scores: NDArray[np.float32], *, path: str) -> None:
        """Add the rows of a batch of one record file."""
        self._ids.append((path, videos.video_ids))
        rows = format_submission(videos.video_ids, scores, top_k=self._options.top_k, path=path)
        self._file.write("".join(rows).encode())


class _Cache:
    """The cache, ended after every record file."""

    def __init__(self, writer: PredictionsWriter, paths: Sequence[str]) -> None:
        self._writer, self._paths = writer, paths

    def __enter__(self) -> Self:
        """Lock the file and see what it holds.

        Returns:
            Itself.
        """
        with ExitStack() as stack:
            self._writer = stack.enter_context(self._writer)
            finished = set(self._writer.finished_shards)
            self.missing = [path for path in self._paths if shard_name(path) not in finished]
            self._positions = {path: position for position, path in enumerate(self.missing)}
            self._next = 0  # the first file that is not ended yet
            self.num_resumed = self._writer.num_videos
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is None:
            self._end_until(len(self.missing))
        self._stack.__exit__(kind, *error)

    def write(self, videos: PooledVideos, members: NDArray[np.float32], *, path: str) -> None:
        """Add a batch of one record file, unless the cache holds that file."""
        if path in self._positions:
            self._end_until(self._positions[path])
            self._writer.append(videos.video_ids, members, videos.labels)

    def _end_until(self, position: int) -> None:
        """End the files before a position; those without a record leave an empty shard."""
        for path in self.missing[self._next : position]:
            self._writer.end_shard(shard_name(path))
        self._next = max(self._next, position)
