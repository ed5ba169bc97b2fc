"""Metrics against hand-worked values, a slow oracle, properties and the official evaluators."""

import json
import math
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.metrics import oracle
from yt8m_ensemble import metrics
from yt8m_ensemble.errors import PredictionsError, ShapeError, UsageError
from yt8m_ensemble.metrics import selection

TIE_FREE = (
    "plain", "unlabeled_rows", "absent_classes", "classes_lt_20", "more_labels_than_topk",
)  # fmt: skip


@st.composite
def matrices(draw, *, ties):
    """Scores and labels of a few videos; with ties scores come from five values."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 40)))
    if ties:
        levels = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
        scores = draw(hnp.arrays(np.float32, shape, elements=levels))
    else:
        seed = draw(st.integers(0, 2**32 - 1))
        order = np.random.default_rng(seed).permutation(math.prod(shape)) + 1
        scores = (order / (len(order) + 1)).reshape(shape).astype(np.float32)
    labels = draw(hnp.arrays(np.bool_, shape, elements=st.sampled_from([False, False, True])))
    return scores, labels


def equal(found, expected):
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_hand_worked_values():
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.4, 0.6]])
    labels = np.array([[True, True, False], [False, False, True]])
    # Pool of the top 2: 0.9 hit, 0.8 miss, 0.6 hit, 0.5 miss; class 1 of video 0 is never kept.
    equal(metrics.global_average_precision(scores, labels, top_k=2), (1 / 1 + 2 / 3) / 3)
    equal(metrics.hit_at_one(scores, labels), 0.5)
    equal(metrics.precision_at_equal_recall_rate(scores, labels), 0.25)
    # Class 0: hit first of two. Class 1: kept by no video. Class 2: 0.6 hit, 0.5 miss.
    np.testing.assert_allclose(metrics.average_precisions(scores, labels, top_k=2), [1, 0, 1])


@settings(deadline=None)
@given(st.booleans().flatmap(lambda ties: matrices(ties=ties)), st.integers(1, 25))
def test_agrees_with_the_oracle(case, top_k):
    scores, labels = case
    equal(metrics.global_average_precision(scores, labels, top_k=top_k),
          oracle.gap(scores, labels, top_k))  # fmt: skip
    equal(metrics.hit_at_one(scores, labels), oracle.hit_at_one(scores, labels))
    equal(metrics.precision_at_equal_recall_rate(scores, labels), oracle.perr(scores, labels))
    np.testing.assert_allclose(
        metrics.average_precisions(scores, labels, top_k=top_k),
        oracle.average_precisions(scores, labels, top_k),
        rtol=0, atol=1e-12, equal_nan=True,
    )  # fmt: skip


@settings(deadline=None)
@given(st.booleans().flatmap(lambda ties: matrices(ties=ties)), st.integers(1, 25), st.data())
def test_streaming_equals_one_shot_however_it_is_cut(case, top_k, data):
    scores, labels = case
    cut = data.draw(st.integers(0, len(scores)))
    parts = [metrics.EvaluationMetrics(scores.shape[1], top_k) for _ in range(2)]
    for part, rows in zip(parts, (slice(0, cut), slice(cut, None)), strict=True):
        part.update(scores[rows], labels[rows])
    parts[0].merge(parts[1])
    assert parts[0].num_videos == len(scores)
    result = parts[0].result()
    equal(result.gap, metrics.global_average_precision(scores, labels, top_k=top_k))
    equal(result.hit_at_one, metrics.hit_at_one(scores, labels))
    equal(result.perr, metrics.precision_at_equal_recall_rate(scores, labels))
    equal(
        result.mean_average_precision, metrics.mean_average_precision(scores, labels, top_k=top_k)
    )
    equal(result.mean_average_precision_all_classes,
          metrics.mean_average_precision_all_classes(scores, labels, top_k=top_k))  # fmt: skip
    assert (result.num_videos, result.num_positives) == (len(scores), labels.sum())
    assert result.num_classes_occurring == labels.any(axis=0).sum()


@settings(deadline=None)
@given(matrices(ties=False), st.randoms(use_true_random=False))
def test_gap_is_a_fraction_blind_to_order_and_to_rising_maps(case, random):
    scores, labels = case
    gap = metrics.global_average_precision(scores, labels)
    if math.isnan(gap):
        assert not labels.any()
        return
    assert 0 <= gap <= 1
    rows, classes = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(classes)
    moved = np.ix_(rows, classes)
    equal(metrics.global_average_precision(scores[moved], labels[moved]), gap)
    equal(metrics.global_average_precision(scores.astype(np.float64) ** 3 - 2, labels), gap)


@pytest.mark.parametrize("year", ["2018", "2019"])
@pytest.mark.parametrize("name", TIE_FREE)
def test_equals_the_official_evaluators_where_nothing_ties(fixtures, year, name):
    folder = fixtures / "eval_fixture"
    official = json.loads((folder / f"official_{year}.json").read_text())[f"{name}/batch1000"]
    arrays = np.load(folder / f"official_{year}.npz")
    scores, labels = arrays[f"{name}_p"], arrays[f"{name}_y"] > 0
    streamed = metrics.EvaluationMetrics(scores.shape[1])
    for start in range(0, len(scores), 64):
        streamed.update(scores[start : start + 64], labels[start : start + 64])
    result = streamed.result()
    assert result.gap == pytest.approx(official["gap"], abs=1e-9)
    assert result.perr == pytest.approx(official["perr"], abs=1e-9)
    # The official Hit@1 is a float32 mean; the nearest float32 to ours is the same number.
    assert np.float32(result.hit_at_one) == np.float32(official["hit"])
    theirs = result.mean_average_precision_all_classes
    if year == "2019":
        theirs = result.mean_average_precision
    assert theirs == pytest.approx(official["map"], abs=1e-9)
    by_class = metrics.average_precisions(scores, labels)
    by_class = np.nan_to_num(by_class) if year == "2018" else by_class[~np.isnan(by_class)]
    np.testing.assert_allclose(by_class, official["aps"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["ties", "many_zeros", "fp16", "constant"])
def test_ties_follow_the_stated_rule(fixtures, name):
    arrays = np.load(fixtures / "eval_fixture" / "official_2018.npz")
    scores, labels = arrays[f"{name}_p"], arrays[f"{name}_y"] > 0
    equal(metrics.global_average_precision(scores, labels), oracle.gap(scores, labels))


@settings(deadline=None)
@given(matrices(ties=True), st.integers(1, 25), st.randoms(use_true_random=False))
def test_tie_bounds_hold_for_every_order_of_classes_and_videos(case, top_k, random):
    scores, labels = case
    low, high = metrics.gap_tie_bounds(scores, labels, top_k=top_k)
    for _ in range(5):
        rows, classes = list(range(scores.shape[0])), list(range(scores.shape[1]))
        random.shuffle(rows)
        random.shuffle(classes)
        moved = np.ix_(rows, classes)
        gap = metrics.global_average_precision(scores[moved], labels[moved], top_k=top_k)
        assert math.isnan(gap) or low - 1e-12 <= gap <= high + 1e-12


@pytest.mark.parametrize("name", ["ties", "many_zeros", "fp16", "constant"])
@pytest.mark.parametrize("batch", ["batch1000", "batch64"])
def test_tie_bounds_hold_for_the_official_evaluator(fixtures, name, batch):
    folder = fixtures / "eval_fixture"
    official = json.loads((folder / "official_2018.json").read_text())[f"{name}/{batch}"]
    arrays = np.load(folder / "official_2018.npz")
    low, high = metrics.gap_tie_bounds(arrays[f"{name}_p"], arrays[f"{name}_y"] > 0)
    assert low < official["gap"] < high


@settings(deadline=None)
@given(matrices(ties=False))
def test_without_ties_the_bounds_meet(case):
    scores, labels = case
    gap = metrics.global_average_precision(scores, labels)
    equal(metrics.gap_tie_bounds(scores, labels)[0], gap)
    equal(metrics.gap_tie_bounds(scores, labels)[1], gap)


@settings(deadline=None)
@given(st.booleans().flatmap(lambda ties: matrices(ties=ties)), st.integers(1, 25))
def test_precision_and_recall_count_hits_among_the_kept(case, top_k):
    scores, labels = case
    kept = oracle.top_pairs(scores, labels, top_k)
    hits = sum(pair[3] for pair in kept)
    precision, recall = metrics.precision_and_recall(scores, labels, top_k=top_k)
    equal(precision, hits / len(kept))
    equal(recall, hits / labels.sum() if labels.any() else math.nan)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_selection_equals_a_sort_on_wide_rows(dtype):
    rng = np.random.default_rng(0)
    scores = (rng.random((300, 1003)) ** 8).astype(dtype)
    scores[5:9, ::2] = 0.25  # many equal scores at the border
    scores[9] = 0
    scores[10, :990] = -np.inf  # fewer finite scores than are kept
    scores[11, 7:40:3] = np.inf
    expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :20], axis=1)
    np.testing.assert_array_equal(metrics.top_k_classes(scores, 20), expected)


@settings(deadline=None)
@given(st.booleans().flatmap(lambda ties: matrices(ties=ties)), st.integers(1, 25))
def test_the_compiled_selection_equals_the_sort_of_few_scores(case, top_k):
    scores, _ = case
    sorted_classes = metrics.top_k_classes(scores, top_k)
    with mock.patch.object(selection, "_SMALL", -1):
        compiled = metrics.top_k_classes(scores, top_k)
    assert compiled.dtype == sorted_classes.dtype
    np.testing.assert_array_equal(compiled, sorted_classes)


def test_many_rows_are_selected_on_several_threads():
    scores = np.random.default_rng(0).random((2100, 30), np.float32)
    expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :4], axis=1)
    np.testing.assert_array_equal(metrics.top_k_classes(scores, 4), expected)
    scores[2001, 3] = np.nan
    with pytest.raises(PredictionsError, match="class 3 in row 2001"):
        metrics.top_k_classes(scores, 4)


def test_streaming_keeps_pairs_not_matrices():
    rng = np.random.default_rng(0)
    streamed = metrics.EvaluationMetrics(4000)
    tracemalloc.start()
    for _ in range(5):
        streamed.update(rng.random((100, 4000), np.float32), rng.random((100, 4000)) < 0.001)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # 9 bytes for each of 500 x 20 pairs, beside 8 MB for the matrices that went through.
    assert held < 250_000


def test_minus_zero_ties_with_zero():
    scores = np.array([[-0.0, 0.0, -0.5]], np.float32)
    labels = np.array([[True, False, True]])
    equal(metrics.global_average_precision(scores, labels), oracle.gap(scores, labels))


def test_nothing_to_score_is_nan():
    scores, labels = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.bool_)
    assert math.isnan(metrics.global_average_precision(scores, labels))
    assert math.isnan(metrics.mean_average_precision(scores, labels))
    assert metrics.mean_average_precision_all_classes(scores, labels) == 0
    assert math.isnan(metrics.EvaluationMetrics(3).result().hit_at_one)


def test_bad_input_is_named():
    scores, labels = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.bool_)
    with pytest.raises(ShapeError, match=r"\(2, 3\) but labels \(1, 3\)") as shape:
        metrics.global_average_precision(scores, labels[:1])
    assert shape.value.details == {"scores": (2, 3), "labels": (1, 3)}
    with pytest.raises(UsageError, match="top_k is 0") as usage:
        metrics.global_average_precision(scores, labels, top_k=0)
    assert usage.value.details == {"top_k": 0}
    scores[1, 2] = np.nan
    with pytest.raises(PredictionsError, match="class 2 in row 1 is nan") as nan:
        metrics.hit_at_one(scores, labels)
    assert nan.value.details == {"row": 1, "class_id": 2}
    streamed = metrics.EvaluationMetrics(4)
    with pytest.raises(ShapeError, match="3 classes, expected 4"):
        streamed.update(np.zeros((2, 3), np.float32), labels)
    with pytest.raises(ShapeError, match="3 classes, top 20, into metrics of 4 classes"):
        streamed.merge(metrics.EvaluationMetrics(3))
