"""Mixtures scored on several threads rank and score as on one, to the last digit."""

import threading

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import to_space
from yt8m_ensemble.tuning import Scorer, collect_candidates, kernels, scoring
from yt8m_ensemble.tuning.scoring import Ranking, paired_differences

VALUES = [0.5, 0.3, 0.2]


def make_scorer(num_classes, num_videos=2_500):
    scores, labels = make_predictions(num_videos=num_videos, num_classes=num_classes)
    scores = np.round(scores, 2)  # many ties, within videos and across
    return scores, labels, Scorer(collect_candidates(blocks(scores, labels), names="abc"), "logit")


@pytest.fixture
def always(monkeypatch):
    """Threads for any number of videos."""
    monkeypatch.setattr(scoring, "_VIDEOS_FOR_THREADS", 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("num_classes", [60, 12])  # more, and less, than a video pools
@pytest.mark.parametrize("num_threads", [2, 3, 7])
def test_threads_change_no_digit(num_classes, num_threads):
    scores, labels, scorer = make_scorer(num_classes)
    alone = scorer.gap(VALUES, num_threads=1)
    pool = scorer.pool(VALUES)
    assert scorer.gap(VALUES, num_threads=num_threads) == alone
    mixed = np.array(VALUES, np.float32) @ scorer.linked
    assert scorer.gap_of(mixed, num_threads=num_threads) == scorer.gap_of(mixed, num_threads=1)
    np.testing.assert_array_equal(scorer.pool(VALUES), pool)
    dense = np.zeros(labels.shape, np.float32)
    for value, linked in zip(VALUES, to_space(scores, "logit"), strict=True):
        dense += np.float32(value) * linked
    assert alone == pytest.approx(global_average_precision(dense, labels), abs=1e-12)


@pytest.mark.usefixtures("always")
def test_more_threads_than_videos_are_no_harm():
    _, _, scorer = make_scorer(60, num_videos=3)
    assert scorer.gap(VALUES, num_threads=8) == scorer.gap(VALUES, num_threads=1)


def test_an_interrupted_score_waits_for_its_threads():
    # Else they would write into the room that the next mixture is ranked in.
    ended = threading.Event()

    def task(part):
        if part == 0:
            raise KeyboardInterrupt
        assert not ended.wait(0.2)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        scoring._on_threads(task, 2)
    assert ended.is_set()


def drawn_gap(ranking, drawn):
    """GAP over some draws of the videos, by its definition: copies of a pair rank together."""
    copies = np.bincount(drawn, minlength=len(ranking.positives))
    repeats = copies[ranking.videos]
    hits = np.repeat(ranking.hits, repeats)
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return precisions[hits].sum() / (ranking.positives @ copies)


@pytest.mark.parametrize(("num_videos", "num_resamples"), [(40, 70), (2_500, 130)])
def test_resamples_are_scored_by_the_definition(num_videos, num_resamples):
    """Also beyond the rank from which a formula sums the copies of a pair."""
    rng = np.random.default_rng(1)
    positives = rng.integers(1, 5, num_videos)
    rankings = []
    for share in (0.3, 0.1):
        videos = rng.permutation(np.repeat(np.arange(num_videos, dtype=np.int32), 20))
        rankings.append(Ranking(0.5, videos, rng.random(len(videos)) < share, positives))
    assert (len(videos) > 2 * kernels.LATE) == (num_videos > 40)
    gaps = paired_differences(rankings, num_resamples=num_resamples, seed=7)
    draws = np.random.default_rng(7)
    for resample in range(num_resamples):
        drawn = draws.integers(num_videos, size=num_videos)
        for found, ranking in zip(gaps, rankings, strict=True):
            assert found[resample] == pytest.approx(drawn_gap(ranking, drawn), rel=1e-12)


def test_a_resample_without_a_positive_has_no_gap():
    ranking = Ranking(1.0, np.array([0, 1], np.int32), np.array([True, False]), np.array([1, 0]))
    gaps = paired_differences([ranking], num_resamples=20, seed=0)
    assert set(np.unique(gaps[~np.isnan(gaps)])) == {1.0}
    assert np.isnan(gaps).any()
