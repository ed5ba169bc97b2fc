"""`predict --runner beam`: record files scored by the workers of an Apache Beam runner.

The unit of work is one record file: a worker loads the models once and writes the scores of each
file it is given as a prediction file of its own, whole or not at all. Parts that are there are not
scored again, so a run that was stopped or lost workers goes on when it is given again.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.errors import MissingDependencyError, PredictionsError
from yt8m_ensemble.inference import score_ahead
from yt8m_ensemble.loading.model import open_models
from yt8m_ensemble.scoring.members import MemberScorer, shard_name
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.storage.joining import join_predictions
from yt8m_ensemble.storage.submission import SUBMISSION_HEADER, format_submission
from yt8m_ensemble.values import no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.inference import PooledVideos
    from yt8m_ensemble.loading.model import OpenedFile
    from yt8m_ensemble.options import PredictOptions


@dataclass(frozen=True)
class BeamResult:
    """Result of `predict_on_beam`.

    Args:
        members: Names of the members.
        num_videos: Videos in the cache.
        cache: The prediction file.
        num_files: Record files.
        num_scored: Those of them that this run scored.
        num_resumed: Videos whose scores an earlier run had left in parts.
        depends_on_chance: Whether the scores vary from run to run.
        opened: The file that each model turned out to be, and its step.
    """

    members: tuple[str, ...]
    num_videos: int
    cache: str
    num_files: int
    num_scored: int
    num_resumed: int
    depends_on_chance: bool
    opened: tuple[OpenedFile, ...]


class PartWriter:
    """Score record files into part files; the models stay loaded in between.

    Args:
        options: How; they travel to the workers.
    """

    def __init__(self, options: PredictOptions) -> None:
        self._options = options
        self._stack = ExitStack()

    def open(self) -> None:
        """Load the models."""
        opened = self._stack.enter_context(open_models(self._options.models, self._options))
        records = files.expand_globs(self._options.data, option="--data")
        self._scorer = self._stack.enter_context(MemberScorer(opened, records))

    def close(self) -> None:
        """Free the models."""
        self._stack.close()

    def write(self, path: str, part: str) -> None:
        """Score one record file, unless its part is there.

        Args:
            path: The record file.
            part: The prediction file to write; it appears when it is complete, after the rows of
                a submission if one is wanted.
        """
        options, scorer = self._options, self._scorer
        if _is_there(part, options):
            return
        with ExitStack() as stack:
            writer = stack.enter_context(
                scorer.writer(part, [path], top_k=options.cache_top_k, force=True)
            )
            rows = None
            if options.csv:
                place = stack.enter_context(files.atomic_file(_rows_path(part), force=True))
                rows = stack.enter_context(files.open_binary(place, "wb"))

            def score(videos: PooledVideos) -> tuple[Any, Any]:
                return scorer.both(videos) if rows else (None, scorer.members_of(videos))

            batches = scorer.batches([path], batch_size=options.batch_size)
            for videos, (mixed, members) in score_ahead(batches, score):
                writer.append(videos.video_ids, members, videos.labels)
                if rows:
                    lines = format_submission(
                        videos.video_ids, mixed, top_k=options.top_k, path=path
                    )
                    rows.write("".join(lines).encode())
            writer.end_shard(shard_name(path))


def predict_on_beam(options: PredictOptions) -> BeamResult:
    """Cache the scores of records with the workers of an Apache Beam runner.

    Cache and submission equal those that `predict_scores` writes. Parts lie in `<cache>.parts`
    until all are complete. Models, records and parts must have the same paths for all workers.

    Args:
        options: What to score, where, and Beam's own options.

    Returns:
        What was scored.

    Raises:
        MissingDependencyError: If Apache Beam is not installed.
        OutputExistsError: If the cache exists and `force` is not set.
        PredictionsError: If parts are of another run, or the pipeline failed.
    """
    beam = check_beam(options)
    cache = str(options.cache)
    paths = files.expand_globs(options.data, option="--data")
    parts = {path: _part_path(cache, path) for path in paths}
    if options.force:
        for part in parts.values():
            Path(part).unlink(missing_ok=True)
            Path(_rows_path(part)).unlink(missing_ok=True)
    missing = [(path, part) for path, part in parts.items() if not _is_there(part, options)]
    with open_models(options.models, options) as opened:
        scorer = MemberScorer(opened, paths)
        num_resumed = sum(
            _check_part(parts[path], path, scorer, top_k=options.cache_top_k)
            for path in set(parts) - {path for path, _ in missing}
        )
    if missing:
        _run(beam, options, missing)
    with ExitStack() as stack:
        if options.csv:
            place = stack.enter_context(files.atomic_file(options.csv, force=options.force))
            with files.open_binary(place, "wb") as submission:
                submission.write(SUBMISSION_HEADER.encode())
                for part in parts.values():
                    submission.write(files.read_bytes(_rows_path(part)))
        # It refuses videos that come twice; the submission appears only after it.
        joined = join_predictions(
            list(parts.values()), cache, force=options.force, progress=options.progress
        )
    for part in parts.values():
        Path(part).unlink()
        Path(_rows_path(part)).unlink(missing_ok=True)
    if not any(Path(f"{cache}.parts").iterdir()):
        Path(f"{cache}.parts").rmdir()
    return BeamResult(
        scorer.members,
        joined.num_videos,
        cache,
        num_files=len(paths),
        num_scored=len(missing),
        num_resumed=num_resumed,
        depends_on_chance=scorer.depends_on_chance,
        opened=scorer.opened,
    )


def check_beam(options: PredictOptions) -> Any:
    """Return the Beam package once the output may be written.

    Args:
        options: What would be scored.

    Raises:
        MissingDependencyError: If Apache Beam is not installed.
        OutputExistsError: If the cache exists and `force` is not set.
    """
    beam = _import_beam()
    for path in filter(None, (options.cache, options.csv)):
        files.check_absent(path, force=options.force)
    return beam


def _import_beam() -> Any:
    """Return the package.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import apache_beam
    except ImportError as error:
        msg = (
            "`--runner beam` needs Apache Beam, which is not installed. Install it with "
            "`pip install 'yt8m-ensemble[beam]'`, or start shares with `predict --shard I/N`."
        )
        raise MissingDependencyError(msg, package="apache-beam") from error
    return apache_beam


def _part_path(cache: str, path: str) -> str:
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    return f"{cache}.parts/{Path(path).name}.{digest}.h5"


def _rows_path(part: str) -> str:
    """Return where the rows of a submission lie that belong to a part."""
    return f"{part}.csv"


def _is_there(part: str, options: PredictOptions) -> bool:
    return files.exists(part) and (not options.csv or files.exists(_rows_path(part)))


def _check_part(part: str, path: str, scorer: MemberScorer, *, top_k: int | None) -> int:
    """Return the videos of a part that an earlier run left, refusing other models or options.

    Raises:
        PredictionsError: If it is one.
    """
    with open_predictions(part) as found:
        has = found.members, found.digests, found.num_classes, found.top_k, found.shards
        num_videos = found.num_videos
    wants = scorer.members, scorer.digests, scorer.num_classes, top_k, (shard_name(path),)
    if has != wants:
        msg = (
            f"'{part}' is left from a run with other models or options: its members are "
            f"{', '.join(has[0])}, top {has[3] or 'all'}. Pass `--force` to start over."
        )
        raise PredictionsError(msg, path=part, members=has[0])
    return num_videos


def _run(beam: Any, options: PredictOptions, work: Sequence[tuple[str, str]]) -> None:
    """Score record files on a runner.

    Raises:
        PredictionsError: If any could not be scored.
    """
    quiet = replace(options, progress=no_progress)  # a progress bar cannot travel

    class ScoreRecordFile(beam.DoFn):  # type: ignore[misc]  # loaded only here
        def __init__(self) -> None:
            self._writer = PartWriter(quiet)

        def setup(self) -> None:
            self._writer.open()

        def process(self, element: tuple[str, str]) -> None:
            self._writer.write(*element)

        def teardown(self) -> None:
            self._writer.close()

    local = [
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={options.num_workers or 1}",
    ]
    chosen = any(option.startswith("--runner") for option in options.beam_options)
    settings = beam.options.pipeline_options.PipelineOptions(
        [*([] if chosen else local), *options.beam_options]
    )
    try:
        with beam.Pipeline(options=settings) as pipeline:
            # Without the reshuffle one worker would be given everything.
            _ = (
                pipeline
                | beam.Create(list(work))
                | beam.Reshuffle()
                | "score" >> beam.ParDo(ScoreRecordFile())
            )
    except Exception as error:
        failed = [path for path, part in work if not _is_there(part, options)]
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        msg = (
            f"{len(failed)} of {len(work)} record files were not scored, the first is "
            f"'{failed[0] if failed else ''}': {reason} The others are kept; run it again for the "
            "rest."
        )
        raise PredictionsError(msg, files=failed) from error
