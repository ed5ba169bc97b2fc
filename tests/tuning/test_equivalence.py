"""Equivalence of two ways of scoring: by hand, against a loop, and its verdicts."""

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.tuning.candidates import BestPairs
from yt8m_ensemble.tuning.equivalence import assess_equivalence


def gather(scores, labels, *, size=64):
    best = BestPairs()
    for (block,), truth in blocks(scores[None], labels, size=size):
        best.update(block, truth)
    return best.candidates()


def assess(first, second, labels, *, margin=0.01, **settings):
    return assess_equivalence(
        gather(first, labels), gather(second, labels), margin=margin, **settings
    )


def test_a_flip_for_better_and_one_for_worse_are_counted():
    labels = np.eye(3, dtype=np.bool_)
    first = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.0, 0.1, 0.9]], np.float32)
    second = np.array([[0.1, 0.9, 0.0], [0.7, 0.8, 0.0], [0.0, 0.1, 0.9]], np.float32)
    found = assess(first, second, labels)
    assert (found.improved, found.worsened, found.num_videos) == (1, 1, 3)


def test_the_difference_is_that_of_the_dense_metric_and_in_its_interval():
    (first, second, _), labels = make_predictions(num_videos=300)
    found = assess(first, second, labels)
    gaps = [global_average_precision(scores, labels) for scores in (first, second)]
    assert found.difference == pytest.approx(gaps[1] - gaps[0], abs=1e-12)
    low, high = found.interval90
    assert low < found.difference < high
    back = assess(second, first, labels)
    assert back.difference == pytest.approx(-found.difference, abs=1e-12)
    assert back.interval90 == pytest.approx((-high, -low), abs=1e-12)
    assert (back.improved, back.worsened) == (found.worsened, found.improved)


def test_the_interval_is_that_of_resamples_scored_one_by_one():
    (first, second, _), labels = make_predictions(num_videos=40)
    rng = np.random.default_rng(3)
    differences = []
    for _ in range(50):
        rows = np.sort(rng.integers(40, size=40))
        one, other = (gather(s[rows], labels[rows]) for s in (first, second))
        found = assess_equivalence(one, other, margin=1, num_resamples=2)
        differences.append(found.difference)
    interval = assess(first, second, labels, num_resamples=50, seed=3).interval90
    # Copies of a video tie, and a resample ranks them by pair, not by copy.
    assert interval == pytest.approx(np.quantile(differences, [0.05, 0.95]), abs=2e-3)


def test_copies_are_equivalent_at_any_margin():
    (first, *_), labels = make_predictions(num_videos=100)
    found = assess(first, first.copy(), labels, margin=1e-9)
    assert found.equivalent
    assert (found.difference, found.interval90) == (0.0, (0.0, 0.0))
    assert found.sentence.startswith("equivalent at a margin of 1e-09")


@pytest.mark.parametrize(
    ("margin", "equivalent", "words"),
    [
        (0.5, True, "equivalent at"),
        (1e-6, False, "different at"),
        ("inside", False, "neither shown equivalent nor different"),
    ],
)
def test_the_verdict_follows_from_interval_and_margin(margin, equivalent, words):
    (first, _, third), labels = make_predictions(num_videos=400)
    low, high = assess(first, third, labels).interval90
    assert high < 0  # the third member is worse for certain
    found = assess(first, third, labels, margin=-(low + high) / 2 if margin == "inside" else margin)
    assert found.equivalent == equivalent
    assert found.sentence.startswith(words)


def test_without_labels_nothing_is_equivalent():
    (first, *_), labels = make_predictions(num_videos=20)
    found = assess(first, first, np.zeros_like(labels))
    assert not found.equivalent
    assert np.isnan(found.difference)
