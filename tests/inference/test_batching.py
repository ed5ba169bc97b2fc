import threading
from typing import Any

import numpy as np
import pytest

from yt8m_ensemble.data import Batch
from yt8m_ensemble.inference import batching, pool_batches, score_ahead
from yt8m_ensemble.inference.runner import PooledFrames

pytestmark = pytest.mark.tf


class Summing:
    """Condense videos to the sums of their frames."""

    def __init__(self, pools_frames):
        self.pools_frames = pools_frames

    def pool_frames(self, features, num_frames):
        return PooledFrames(("sums",), (features.sum(axis=1),), num_frames)


def batches_of(*sizes_by_shard):
    """Make batches of numbered videos, those of each record file in their sizes."""
    first = 0
    for shard, sizes in enumerate(sizes_by_shard):
        for size in sizes:
            numbers = np.arange(first, first + size)
            yield Batch(
                video_ids=np.array([b"v%03d" % n for n in numbers]),
                features=np.stack([numbers, numbers], 1)[:, :, None].astype(np.float32),
                num_frames=numbers.astype(np.int32),
                labels=(numbers[:, None] == np.arange(3)),
                shards=np.full(size, shard, np.int32),
            )
            first += size


@pytest.mark.parametrize(
    ("pools_frames", "expected"),
    [
        ((True, True), [(0, 4), (0, 3), (1, 5), (1, 2), (2, 2)]),
        ((True, False), [(0, 2), (0, 2), (0, 2), (0, 1), (1, 2), (1, 2), (1, 1), (1, 2), (2, 2)]),
    ],
)
def test_condensed_videos_are_gathered_within_a_record_file(monkeypatch, pools_frames, expected):
    monkeypatch.setattr(batching, "AT_ONCE", 5)
    runners: list[Any] = [Summing(each) for each in pools_frames]
    found = list(pool_batches(batches_of([2, 2, 2, 1], [2, 2, 1, 2], [2]), runners))
    assert [(videos.shard, len(videos.video_ids)) for videos in found] == expected
    numbers = np.arange(16)
    ids = np.concatenate([videos.video_ids for videos in found])
    assert ids.tolist() == [b"v%03d" % n for n in numbers]
    labels = np.concatenate([videos.labels for videos in found])
    np.testing.assert_array_equal(labels, numbers[:, None] == np.arange(3))
    for graph in range(2):
        parts = [videos.pooled[graph] for videos in found]
        joined = PooledFrames.joined(parts)
        assert joined.tensors == ("sums",)
        np.testing.assert_array_equal(joined.values[0], 2 * numbers[:, None])
        np.testing.assert_array_equal(joined.num_frames, numbers)


def test_batches_come_in_order_with_their_scores():
    assert list(score_ahead(range(5), lambda batch: batch * 10)) == [
        (batch, batch * 10) for batch in range(5)
    ]
    assert list(score_ahead([], str)) == []


def test_the_next_batch_is_scored_while_the_caller_uses_the_last():
    started = [threading.Event() for _ in range(3)]
    for batch, _ in score_ahead(range(3), lambda batch: started[batch].set()):
        if batch < 2:
            assert started[batch + 1].wait(timeout=60)


def test_an_error_of_scoring_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(score_ahead([1, 0, 1], lambda batch: 1 / batch))
