"""How scoring keeps both the reader and the graph busy within bounded memory."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from yt8m_ensemble.values import FeatureSpec

BATCH_BYTES: Final = 16 << 20
"""Bytes of a batch's features as they are held.

Fewer would cost time: the weights of thousands of classes are read from memory for every batch.
"""
MAX_BATCH: Final = 256

B = TypeVar("B")
S = TypeVar("S")


def default_batch_size(features: FeatureSpec, *, keep_bytes: bool = False) -> int:
    """Return how many videos a batch holds unless told otherwise.

    Args:
        features: What the model reads.
        keep_bytes: Whether frames are held in the bytes of the records rather than in float32.

    Returns:
        As many as take 16 MiB, at most 256.

    Examples:
        >>> from yt8m_ensemble.values import FeatureSpec
        >>> frames = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
        >>> default_batch_size(frames), default_batch_size(frames, keep_bytes=True)
        (12, 48)
        >>> default_batch_size(FeatureSpec(("mean_rgb",), (1024,), frame_level=False))
        256
    """
    itemsize = 1 if features.frame_level and keep_bytes else 4
    vectors = features.max_frames if features.frame_level else 1
    return max(1, min(MAX_BATCH, BATCH_BYTES // (itemsize * vectors * features.total_size)))


def score_ahead(batches: Iterable[B], score: Callable[[B], S]) -> Iterator[tuple[B, S]]:
    """Score each batch in a second thread while the caller uses the scores of the one before.

    Args:
        batches: Read in the caller's thread.
        score: Called with one batch after the other, never with two at a time.

    Yields:
        Each batch with its scores, in order.
    """
    with ThreadPoolExecutor(1, "score") as pool:
        waiting: tuple[B, Future[S]] | None = None
        for batch in batches:
            following = batch, pool.submit(score, batch)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()
