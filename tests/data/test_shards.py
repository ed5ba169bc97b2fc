"""Samples and shares of files: seeded, disjoint, complete."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yt8m_ensemble.data import sample_shards, shard_paths
from yt8m_ensemble.errors import UsageError

PATHS = [f"p{i:02d}" for i in range(20)]


@given(st.integers(1, 40), st.integers(0, 9))
def test_a_sample_is_seeded_ordered_and_without_repeats(count, seed):
    drawn = sample_shards(PATHS, count, seed=seed)
    assert drawn == sample_shards(PATHS, count, seed=seed) == sorted(set(drawn))
    assert len(drawn) == min(count, 20)
    assert set(drawn) <= set(PATHS)


def test_every_file_is_drawn_by_some_seed():
    assert {p for seed in range(200) for p in sample_shards(PATHS, 3, seed=seed)} == set(PATHS)


@given(st.integers(1, 20))
def test_shares_are_disjoint_complete_and_even(count):
    shares = [shard_paths(PATHS, index, count) for index in range(count)]
    assert sorted(path for share in shares for path in share) == PATHS
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_refused():
    with pytest.raises(UsageError, match="at least 1 shard, not 0") as caught:
        sample_shards(PATHS, 0, seed=0)
    assert caught.value.count == 0
    for index in (-1, 4):
        with pytest.raises(UsageError, match=f"Worker {index} of 4 does not exist"):
            shard_paths(PATHS, index, 4)
    with pytest.raises(UsageError, match="Use at most 2 workers") as caught:
        shard_paths(PATHS[:2], 2, 4)
    assert (caught.value.index, caught.value.files) == (2, 2)
