"""How scoring keeps both the reader and the graph busy within bounded memory."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from yt8m_ensemble.inference.runner import PooledFrames
from yt8m_ensemble.threads import result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.data import Batch
    from yt8m_ensemble.inference.runner import GraphRunner
    from yt8m_ensemble.values import FeatureSpec

BATCH_BYTES: Final = 32 << 20
"""Bytes of a batch's features as float32; the graph holds about five times as much at a time.

Fewer would cost time: the weights of thousands of classes are read from memory for every batch.
"""
MAX_BATCH: Final = 256
AT_ONCE: Final = 128
"""PooledFrames videos that are scored together at most.

The same for all models, since the size of a batch may show in the last bit of a product.
"""

B = TypeVar("B")
S = TypeVar("S")


def default_batch_size(features: FeatureSpec) -> int:
    """Return how many videos a batch holds unless told otherwise.

    Args:
        features: What the model reads.

    Returns:
        As many as take 32 MiB in float32, at most 256.

    Examples:
        >>> from yt8m_ensemble.values import FeatureSpec
        >>> default_batch_size(FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True))
        24
        >>> default_batch_size(FeatureSpec(("mean_rgb",), (1024,), frame_level=False))
        256
    """
    vectors = features.max_frames if features.frame_level else 1
    return max(1, min(MAX_BATCH, BATCH_BYTES // (4 * vectors * features.total_size)))


@dataclass(frozen=True)
class PooledVideos:
    """A batch of B videos of one record file, without their features.

    Args:
        video_ids: Shape `(B,)`, bytes.
        labels: Shape `(B, C)`, bool.
        shard: Index of their record file.
        pooled: What each graph has made of the features.
    """

    video_ids: NDArray[np.bytes_]
    labels: NDArray[np.bool_]
    shard: int
    pooled: tuple[PooledFrames, ...]


def pool_batches(
    batches: Iterable[Batch], runners: Sequence[GraphRunner]
) -> Iterator[PooledVideos]:
    """Condense each batch and gather the videos of a record file, if all graphs do pool_frames.

    Args:
        batches: Each of one record file.
        runners: The graphs.

    Yields:
        The same videos in the same order, in batches that depend on their record file alone.
    """
    at_once = AT_ONCE if all(runner.pools_frames for runner in runners) else 1
    gathered: list[PooledVideos] = []
    for batch in batches:
        videos = PooledVideos(
            batch.video_ids,
            batch.labels,
            int(batch.shards[0]),
            tuple(runner.pool_frames(batch.features, batch.num_frames) for runner in runners),
        )
        together = [*gathered, videos]
        if {part.shard for part in together} != {videos.shard} or _count(together) > at_once:
            if gathered:
                yield _join(gathered)
            together = [videos]
        gathered = together
    if gathered:
        yield _join(gathered)


def _count(parts: Sequence[PooledVideos]) -> int:
    return sum(len(part.video_ids) for part in parts)


def _join(parts: Sequence[PooledVideos]) -> PooledVideos:
    if len(parts) == 1:
        return parts[0]
    return PooledVideos(
        np.concatenate([part.video_ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].shard,
        tuple(map(PooledFrames.joined, zip(*(part.pooled for part in parts), strict=True))),
    )


def score_ahead(batches: Iterable[B], score: Callable[[B], S]) -> Iterator[tuple[B, S]]:
    """Score each batch in a second thread while the caller uses the scores of the one before.

    Args:
        batches: Read in the caller's thread.
        score: Called with one batch after the other, never with two at a time.

    Yields:
        Each batch with its scores, in order.
    """
    pool = ThreadPoolExecutor(1, "score")
    try:
        waiting: tuple[B, Future[S]] | None = None
        for batch in batches:
            following = batch, pool.submit(score, batch)
            if waiting is not None:
                yield waiting[0], result_of(waiting[1])
            waiting = following
        if waiting is not None:
            yield waiting[0], result_of(waiting[1])
    finally:
        # Without waiting: the batch may never end until whoever is interrupted closes the session.
        pool.shutdown(wait=False, cancel_futures=True)
