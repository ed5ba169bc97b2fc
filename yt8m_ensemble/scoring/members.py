"""Models scored together: that they fit each other, their sessions, the cache of their scores."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from yt8m_ensemble.checkpoints import TfCheckpoint, UnmappedTensors
from yt8m_ensemble.data import BatchReader
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.inference import GraphRunner, default_batch_size, pool_batches
from yt8m_ensemble.loading.joint_features import describe_means, share_features
from yt8m_ensemble.storage import PredictionsWriter, check_finite_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.inference import PooledVideos
    from yt8m_ensemble.loading.model import OpenModel
    from yt8m_ensemble.values import TensorSource

_MIXTURE: Final = "the mixture"
_MAX_NAME_BYTES: Final = 256  # what a predictions file has room for


class MemberScorer:
    """Score batches with every member of several models; a context manager that holds sessions.

    Models of unlike features are fed with the union of them.

    Args:
        models: The models, open as long as this is used.
        records: Record files of the kind that they are to score.

    Raises:
        ModelError: If they differ in classes, or in the size of a feature.
    """

    def __init__(self, models: Sequence[OpenModel], records: Sequence[str]) -> None:
        given, models = models, share_features(models, records)
        self._notes = describe_means(given, models)
        first = models[0]
        for other in models[1:]:
            if other.num_classes != first.num_classes:
                msg = (
                    f"'{first.name}' and '{other.name}' predict different classes "
                    f"({first.num_classes}, {other.num_classes}). Cache them separately."
                )
                raise ModelError(msg, models=(first.name, other.name))
        self._models = models
        self._reader: BatchReader | None = None
        self.features, self.num_classes = first.features, first.num_classes
        self.members = tuple(name for model in models for name in model.members)
        self.depends_on_chance = any(model.depends_on_chance for model in models)
        self.opened = tuple(model.opened for model in models)
        self.digests = tuple(model.digest for model in models for _ in model.members)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._runners = [stack.enter_context(start_runner(model)) for model in self._models]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def batches(self, paths: Sequence[str], *, batch_size: int | None) -> Iterator[PooledVideos]:
        """Return what these models score, read and pooled; see `scoring_reader`."""
        if not paths:  # a cache that lacks no more than its name
            return iter(())
        reader = scoring_reader(paths, self._models[0], self._runners, batch_size=batch_size)
        self._reader = reader
        return pool_batches(reader, self._runners)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the records just read hold that may not be expected."""
        return (*self._notes, *self._reader.census.warnings) if self._reader else ()

    def mixed(self, videos: PooledVideos) -> NDArray[np.float32]:
        """Return the scores of the first model, of a merged one the mixed ones: `(B, C)`."""
        return finite_mixed(self._runners[0], videos, self.members)

    def members_of(self, videos: PooledVideos) -> NDArray[np.float32]:
        """Return the scores of every member: `(M, B, C)`."""
        pairs = zip(self._runners, videos.pooled, strict=True)
        found = [runner.members_of(pooled) for runner, pooled in pairs]
        scores = found[0] if len(found) == 1 else np.concatenate(found)
        check_finite_scores(self.members, videos.video_ids, scores)
        return scores

    def both(self, videos: PooledVideos) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `mixed` and `members_of` of one model, in one run of its graph."""
        mixed, members = self._runners[0].both(videos.pooled[0])
        check_finite_scores(self.members, videos.video_ids, members)
        check_finite_scores([_MIXTURE], videos.video_ids, mixed[None])
        return mixed, members

    def writer(
        self, path: str, records: Sequence[str], *, top_k: int | None, force: bool
    ) -> PredictionsWriter:
        """Return a writer of a cache of record files by these members; see `PredictionsWriter`."""
        return PredictionsWriter(
            path,
            members=self.members,
            digests=self.digests,
            num_classes=self.num_classes,
            features=[self.features] * len(self.members),
            top_k=top_k,
            shards=[shard_name(record) for record in records],
            force=force,
        )


def start_runner(model: OpenModel) -> GraphRunner:
    """Return a session that holds a model's graph and weights."""
    return GraphRunner(model.graph, unmapped(model.source))


def finite_mixed(
    runner: GraphRunner, videos: PooledVideos, members: Sequence[str]
) -> NDArray[np.float32]:
    """Return the scores of a model, of a merged one the mixed ones: `(B, C)`.

    Raises:
        PredictionsError: If some are not finite; names the member that they come from.
    """
    scores = runner.mixed(videos.pooled[0])
    if not np.isfinite(scores).all():
        check_finite_scores(members, videos.video_ids, runner.members_of(videos.pooled[0]))
        check_finite_scores([_MIXTURE], videos.video_ids, scores[None])
    return scores


def unmapped(source: TensorSource) -> TensorSource:
    """Return a source to load a session from: mapped files would count beside its copies."""
    return UnmappedTensors(source) if isinstance(source, TfCheckpoint) else source


def scoring_reader(
    paths: Sequence[str],
    model: OpenModel,
    runners: Sequence[GraphRunner],
    *,
    batch_size: int | None,
) -> BatchReader:
    """Return a reader of batches to score: always the same ones, so that all commands agree.

    Args:
        paths: Record files; no batch spans two.
        model: A model that says what is read.
        runners: All graphs that the batches are fed to.
        batch_size: Videos a batch; `None` for `default_batch_size`.
    """
    return BatchReader(
        paths,
        features=model.features,
        num_classes=model.num_classes,
        batch_size=batch_size or default_batch_size(model.features),
        cut_at_files=True,
        keep_bytes=all(runner.takes_bytes for runner in runners),
    )


def shard_name(path: str) -> str:
    """Return the name by which a cache knows a record file: its path, a long one cut.

    Examples:
        >>> shard_name("records/validate00.tfrecord")
        'records/validate00.tfrecord'
        >>> len(shard_name("x" * 300))
        218
    """
    if len(path.encode()) <= _MAX_NAME_BYTES:
        return path
    tail = path.encode()[-200:].decode(errors="ignore")
    return f"{hashlib.sha256(path.encode()).hexdigest()[:16]}: {tail}"
