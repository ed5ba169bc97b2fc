"""Comparisons of members against plain loops, and the sweep against the scorer."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble import mapped
from yt8m_ensemble.metrics import average_precisions, global_average_precision, hit_at_one
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.tuning import Scorer, collect_candidates, diversity
from yt8m_ensemble.tuning.diversity import MIXTURE, compare_members
from yt8m_ensemble.tuning.weight_sweep import sweep_weights
from yt8m_ensemble.values import Labels, MixtureWeights

SCORES, LABELS = make_predictions()
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])
WEIGHTS = MixtureWeights.normalized("abc", [0.5, 0.3, 0.2], space="logit")


@pytest.fixture(scope="module")
def candidates():
    return collect_candidates(blocks(SCORES, LABELS), names="abc")


@pytest.fixture(scope="module")
def comparison(candidates):
    return compare_members(candidates, Labels.from_dense(VIDEO_IDS, LABELS), WEIGHTS)


def test_gaps_are_those_of_the_dense_scores(comparison):
    mixed = mix(list(SCORES), WEIGHTS)
    for name, scores in zip((*"abc", MIXTURE), (*SCORES, mixed), strict=True):
        assert comparison.gaps[name] == pytest.approx(global_average_precision(scores, LABELS))
    assert comparison.best_single == "a"


def test_fixed_and_broken_videos_explain_the_change_of_hit_at_one(comparison):
    change = hit_at_one(mix(list(SCORES), WEIGHTS), LABELS) - hit_at_one(SCORES[0], LABELS)
    assert len(comparison.fixed) - len(comparison.broken) == pytest.approx(change * 200)
    tops = mix(list(SCORES), WEIGHTS).argmax(axis=1), SCORES[0].argmax(axis=1)
    rows = np.arange(200)
    expected = VIDEO_IDS[LABELS[rows, tops[0]] & ~LABELS[rows, tops[1]]].astype("U").tolist()
    assert list(comparison.fixed) == expected


def test_pairs_disagree_where_their_best_classes_differ(comparison):
    assert [pair.members for pair in comparison.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    tops = SCORES.argmax(axis=2)
    first = comparison.pairs[0]
    assert first.disagreement == pytest.approx(np.mean(tops[0] != tops[1]))
    hits = [LABELS[np.arange(200), top] for top in tops]
    assert first.only_first == pytest.approx(np.mean(hits[0] & ~hits[1]))
    assert first.only_second == pytest.approx(np.mean(hits[1] & ~hits[0]))
    assert 0 < first.correlation < 1


def test_bands_hold_every_class_that_occurs(comparison):
    positives = LABELS.sum(axis=0)
    assert sum(band.num_classes for band in comparison.bands) == np.count_nonzero(positives)
    assert sum(band.num_positives for band in comparison.bands) == positives.sum()
    for band in comparison.bands:
        assert all(0 <= gap <= 1 for gap in band.gaps.values())


def test_listed_classes_carry_their_average_precisions(comparison):
    before = average_precisions(SCORES[0], LABELS)
    after = average_precisions(mix(list(SCORES), WEIGHTS), LABELS)
    for change in comparison.classes:
        assert change.best_single == pytest.approx(before[change.class_id])
        assert change.mixture == pytest.approx(after[change.class_id])
    gains = [(c.mixture - c.best_single) * c.num_positives for c in comparison.classes]
    assert gains == sorted(gains, reverse=True)


def test_a_comparison_in_small_blocks_is_the_same(comparison, candidates, monkeypatch):
    monkeypatch.setattr(mapped, "_LARGE", 1)
    monkeypatch.setattr(mapped, "_BLOCK", 101)
    monkeypatch.setattr(diversity, "_ROWS", 7)
    monkeypatch.setattr(diversity, "_PAIRS", 50)
    again = compare_members(candidates, Labels.from_dense(VIDEO_IDS, LABELS), WEIGHTS)
    assert replace(again, pairs=()) == replace(comparison, pairs=())
    for pair, other in zip(again.pairs, comparison.pairs, strict=True):
        assert replace(pair, correlation=0) == replace(other, correlation=0)
        assert pair.correlation == pytest.approx(other.correlation, abs=1e-12)


@pytest.mark.parametrize("num_members", [1, 3])
def test_the_landscape_samples_the_scorer(candidates, num_members):
    part = candidates.select_members(range(num_members))
    scorer = Scorer(part, "logit")
    best = np.full(num_members, 1 / num_members)
    sweep = sweep_weights(scorer, best)
    assert sweep.best_gap == scorer.gap(best)
    assert sweep.slices[0, -1] == pytest.approx(scorer.gap(np.eye(num_members)[0]))
    assert len(sweep.grid) == (231 if num_members == 3 else 0)
    assert len(sweep.grid_gaps) == len(sweep.grid)
