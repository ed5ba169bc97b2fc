"""`predict`: a Kaggle CSV and cached scores of every member, in one pass over the records."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from yt8m_ensemble import files
from yt8m_ensemble.constants import TOP_K
from yt8m_ensemble.data import shard_paths
from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.inference import (
    SUBMISSION_HEADER,
    format_submission,
    score_ahead,
)
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.scoring.members import MemberScorer, shard_name
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from yt8m_ensemble.inference import PooledVideos
    from yt8m_ensemble.storage import PredictionsWriter


@dataclass(frozen=True)
class PredictResult:
    """Say what was scored and where it went.

    Args:
        members: Names of the members that were scored.
        num_videos: Videos in the outputs.
        csv: The submission, if one was written.
        cache: The prediction file, if one was written.
        num_resumed: Videos among them whose scores an earlier run had left in the cache.
    """

    members: tuple[str, ...]
    num_videos: int
    csv: str | None
    cache: str | None
    num_resumed: int = 0


def predict_scores(
    *,
    models: Sequence[str],
    data: str,
    csv: str | None = None,
    cache: str | None = None,
    top_k: int = TOP_K,
    cache_top_k: int | None = None,
    shard: tuple[int, int] | None = None,
    runner: Literal["local", "beam"] = "local",
    num_workers: int | None = None,
    beam_options: Sequence[str] = (),
    batch_size: int | None = None,
    num_classes: int | None = None,
    architecture: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> PredictResult:
    """Score records with one or more models.

    A cache grows by whole record files. One that an interrupted run left is continued; the result
    is the same as of one unbroken run, because no batch spans two record files.

    Args:
        models: Paths to models (see `loading.model`); a merged one brings all its members.
        data: Globs of records, comma-separated.
        csv: Kaggle submission to write; needs exactly one model, whose mixed scores it holds.
        cache: Prediction file (`.h5`) to write: the scores of every member.
        top_k: Pairs a row of the submission.
        cache_top_k: Scores kept a video and member in the cache; `None` keeps all.
        shard: Score only this process's share of the record files: its number, counted from 0, and
            how many processes there are. A cache of that very share which is complete is then left
            as it is, so that a scheduler may call twice.
        runner: Score in this process, or on Apache Beam (see `scoring.beam`).
        num_workers: Processes of Beam's local runner; `None` for one.
        beam_options: Further options of its pipeline.
        batch_size: Videos a batch; `None` for as many as take 32 MiB, at most 256.
        num_classes: Where a model's files do not tell.
        architecture: Overrides what the models' files say.
        force: Replace outputs that exist.
        dry_run: Check everything, score nothing.
        progress: Told the videos scored.

    Returns:
        What was written.

    Raises:
        UsageError: If options ask for nothing, contradict each other or name no such share.
        MissingDependencyError: If Beam is asked for and not installed.
        ModelError: If the models differ in features or classes.
        OutputExistsError: If an output is there and complete, and `force` is not set.
        PredictionsError: If an unfinished cache is of other models, options or records.
    """
    _check_outputs(models, csv=csv, cache=cache)
    if runner == "beam":
        if csv or shard or not cache:
            msg = "`--runner beam` writes one `--cache` and shares the work itself. Leave `--csv` "
            msg += "and `--shard` out."
            raise UsageError(msg, csv=csv, shard=shard)
        from yt8m_ensemble.scoring.beam import predict_on_beam

        done = predict_on_beam(
            models=models,
            data=data,
            cache=cache,
            num_workers=num_workers or 1,
            beam_options=beam_options,
            cache_top_k=cache_top_k,
            batch_size=batch_size,
            num_classes=num_classes,
            architecture=architecture,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )
        return PredictResult(done.members, done.num_videos, None, done.cache)
    if num_workers or beam_options:
        msg = (
            "`--num-workers` and `--beam-option` need `--runner beam`. One process uses all cores."
        )
        raise UsageError(msg, num_workers=num_workers)
    if csv:
        files.check_absent(csv, force=force)
    paths = files.expand_globs(data, option="--data")
    if shard is not None:
        paths = shard_paths(paths, *shard)
    with open_models(models, architecture=architecture, num_classes=num_classes) as opened:
        scorer = MemberScorer(opened)
        result = PredictResult(scorer.members, 0, csv, cache)
        to_write = cache
        if cache and shard is not None and not force:
            complete = _videos_of_complete(cache, scorer, paths, top_k=cache_top_k)
            if complete is not None:
                to_write, result = None, replace(result, num_videos=complete, num_resumed=complete)
        writer = scorer.writer(to_write, top_k=cache_top_k, force=force) if to_write else None
        if dry_run or not (csv or writer):
            return result
        with scorer, ExitStack() as stack:
            text = stack.enter_context(_Submission(csv, force=force)) if csv else None
            store = stack.enter_context(_Cache(writer, paths)) if writer else None
            videos, resumed = _score(
                scorer,
                paths,
                text=text,
                store=store,
                batch_size=batch_size,
                top_k=top_k,
                progress=progress,
            )
        return replace(result, num_videos=videos, num_resumed=max(resumed, result.num_resumed))


def _check_outputs(models: Sequence[str], *, csv: str | None, cache: str | None) -> None:
    """Refuse options that ask for nothing or for too much.

    Raises:
        UsageError: If they do.
    """
    if not csv and not cache:
        msg = "Nothing to write. Pass `--csv OUT`, `--cache OUT.h5`, or both."
        raise UsageError(msg)
    if csv and len(models) > 1:
        msg = (
            f"A CSV holds the scores of one model, {len(models)} are given. Merge them first with "
            "`yt8m-ens merge`, or write `--cache` only."
        )
        raise UsageError(msg, models=tuple(models))


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
    scorer: MemberScorer,
    paths: Sequence[str],
    *,
    text: _Submission | None,
    store: _Cache | None,
    batch_size: int | None,
    top_k: int,
    progress: Progress,
) -> tuple[int, int]:
    """Return the videos in the outputs and those that were there before, having scored the rest."""
    # A submission is written anew, and needs every record; a cache only what it does not hold.
    wanted = list(paths) if text or store is None else store.missing
    resumed = store.num_resumed if store else 0
    done = 0 if text else resumed

    def run(videos: PooledVideos) -> tuple[Any, Any]:
        if text and store:
            return scorer.both(videos)
        return (scorer.mixed(videos), None) if text else (None, scorer.members_of(videos))

    batches = scorer.batches(wanted, batch_size=batch_size)
    for videos, (mixed, members) in score_ahead(batches, run):
        if text:
            text.write(videos, mixed, top_k=top_k)
        if store:
            store.write(videos, members, path=wanted[videos.shard])
        done += len(videos.video_ids)
        progress("predict", done, None, unit="videos")
    return done, resumed


class _Submission:
    """The Kaggle CSV; it appears when all of it is written."""

    def __init__(self, path: str, *, force: bool) -> None:
        self._path, self._force = path, force

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(files.atomic_file(self._path, force=self._force))
            self._file = stack.enter_context(files.open_binary(part, "wb"))
            self._file.write(SUBMISSION_HEADER.encode())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, videos: PooledVideos, scores: NDArray[np.float32], *, top_k: int) -> None:
        """Add the rows of a batch."""
        self._file.write("".join(format_submission(videos.video_ids, scores, top_k=top_k)).encode())


class _Cache:
    """The cache, ended after every record file."""

    def __init__(self, writer: PredictionsWriter, paths: Sequence[str]) -> None:
        self._writer, self._paths = writer, paths

    def __enter__(self) -> Self:
        """Lock the file and see what it holds.

        Returns:
            Itself.

        Raises:
            PredictionsError: If it holds other records than those to score.
        """
        with ExitStack() as stack:
            self._writer = stack.enter_context(self._writer)
            finished = set(self._writer.finished_shards)
            foreign = sorted(finished - set(map(shard_name, self._paths)))
            if foreign:
                msg = (
                    f"The unfinished cache holds scores of '{foreign[0]}', which `--data` and "
                    "`--shard` do not name now. Run it as before, or pass `--force` to start over."
                )
                raise PredictionsError(msg, shards=foreign)
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
