"""The compiled loops do what their Python text says, and rank as `metrics` does."""

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.metrics.selection import falling_order
from yt8m_ensemble.tuning import collect_candidates, kernels

SCORES, LABELS = make_predictions(num_videos=20, num_classes=40)


@pytest.fixture(scope="module")
def held():
    return collect_candidates(blocks(SCORES, LABELS), names="abc")


def pooled(fill, held, weights, top_k=5, guess=0):
    pool = np.empty(top_k * held.num_videos + 1, np.uint64)
    guesses = np.full(held.num_videos, guess, np.int32)
    linked = np.round(held.scores, 1)  # many ties
    mixed = np.empty(len(held.class_ids), np.float32)
    bits = mixed.view(np.int32)
    count = fill(held.indptr, linked, weights, held.hits, top_k, guesses, mixed, bits, pool)
    return pool[:count]


@pytest.mark.parametrize("guess", [0, -(2**31), 2**31 - 1, 1_050_000_000])
def test_a_guess_saves_time_and_changes_nothing(held, guess):
    weights = np.array([0.5, 0.3, 0.2], np.float32)
    expected = pooled(kernels.fill_pool, held, weights)
    np.testing.assert_array_equal(pooled(kernels.fill_pool, held, weights, guess=guess), expected)
    np.testing.assert_array_equal(
        pooled(kernels.fill_pool.py_func, held, weights, guess=guess), expected
    )


def test_sorted_pools_rank_equal_scores_in_order(held):
    weights = np.array([0.5, 0.3, 0.2], np.float32)
    pool = pooled(kernels.fill_pool, held, weights)
    mixed = np.zeros(len(held.class_ids), np.float32)
    for weight, column in zip(weights, np.round(held.scores, 1), strict=True):
        mixed += weight * column
    places = ((np.sort(pool) & np.uint64(0xFFFFFFFF)) >> np.uint64(1)).astype(np.int64)
    kept = np.sort(places)
    np.testing.assert_array_equal(places, kept[falling_order(mixed[kept])])


@pytest.mark.slow
def test_python_text_and_machine_code_agree(held):
    weights = np.array([0.5, 0.3, 0.2], np.float32)
    pool = np.sort(pooled(kernels.fill_pool, held, weights))
    sums = np.zeros((2, 1, 3))
    kernels.sum_precisions(pool, 0, sums[0])
    kernels.sum_precisions.py_func(pool, 0, sums[1])
    assert sums[0] == pytest.approx(sums[1])
    places = ((pool & np.uint64(0xFFFFFFFF)) >> np.uint64(1)).astype(np.int64)
    videos = (np.searchsorted(held.indptr, places, "right") - 1).astype(np.int32)
    copies = np.random.default_rng(0).poisson(1, (held.num_videos, kernels.LANES))
    copies = copies.astype(np.uint8).view(np.uint64)
    totals, counts = np.empty((2, kernels.LANES)), np.empty((2, kernels.LANES), np.int32)
    words = np.empty((kernels.PAIRS, kernels.LANES // 8), np.uint64)
    given = videos, held.hits[places], copies, words, words.view(np.uint8), counts
    kernels.sum_resampled_precisions(*given, totals[0])
    kernels.sum_resampled_precisions.py_func(*given, totals[1])
    assert totals[0] == pytest.approx(totals[1])
    edges = np.linspace(0.05, 0.9, 7)
    results = []
    for function in (kernels.soft_precision, kernels.soft_precision.py_func):
        gradient = np.zeros(3)
        value = function(
            held.scores, places, held.hits, weights.astype(np.float64), edges, gradient
        )
        results.append((value, *gradient))
    assert results[0] == pytest.approx(results[1])
    dense = SCORES.transpose(0, 2, 1)[:, :, :3].transpose(0, 2, 1).reshape(3, -1)
    indptr = np.arange(4) * 40
    kept = []
    for function in (kernels.keep_undominated, kernels.keep_undominated.py_func):
        keep = np.zeros(120, np.bool_)
        room, order = np.empty((7, 40), np.float32), np.empty((3, 40), np.int64)
        class_ids = np.tile(np.arange(40, dtype=np.int32), 3)
        function(indptr, dense, class_ids, 4, 1e-4, 1e-7, room, order, keep)
        kept.append(keep)
    np.testing.assert_array_equal(kept[0], kept[1])
    assert 12 <= kept[0].sum() < 120
