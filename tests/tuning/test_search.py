"""Every tuner of the table goes through one suite: valid, seeded, never below where it starts."""

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning import TUNERS, Scorer, collect_candidates, search_weights, tuners
from yt8m_ensemble.tuning.surrogate import SmoothGap
from yt8m_ensemble.tuning.tuners import simplex_grid


@pytest.fixture(scope="module")
def scorer():
    scores, labels = make_predictions()
    return Scorer(collect_candidates(blocks(scores, labels), names="abc"), "logit")


@pytest.mark.parametrize("method", TUNERS)
def test_found_weights_are_a_mixture_and_beat_the_starting_points(scorer, method):
    found = search_weights(scorer, method=method, step=0.1)
    assert found.values.min() >= 0
    assert found.values.sum() == pytest.approx(1)
    assert found.gap == scorer.gap(found.values)
    assert found.gap >= max(scorer.gap(start) for start in [np.full(3, 1 / 3), *np.eye(3)])
    gaps = [gap for _, gap in found.trace]
    assert gaps == sorted(gaps)
    assert gaps[-1] == found.gap
    assert not found.was_interrupted


@pytest.mark.parametrize("method", TUNERS)
def test_same_seed_same_weights(scorer, method):
    first, second = (search_weights(scorer, method=method, step=0.1, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize("method", TUNERS)
def test_a_search_that_begins_on_draws_ends_on_all_videos(scorer, method, monkeypatch):
    whole = search_weights(scorer, method=method, step=0.1)
    monkeypatch.setattr(tuners, "MANY_VIDEOS", 60)
    monkeypatch.setattr(tuners, "_DRAWS", (30, 120))
    found = search_weights(scorer, method=method, step=0.1)
    assert found.gap == scorer.gap(found.values)
    assert found.gap >= max(scorer.gap(start) for start in [np.full(3, 1 / 3), *np.eye(3)])
    assert found.gap >= whole.gap - 0.003
    assert found.trace[-1][1] == found.gap
    again = search_weights(scorer, method=method, step=0.1)
    np.testing.assert_array_equal(found.values, again.values)
    if method == "grid":
        assert found.num_evaluations == whole.num_evaluations


@pytest.mark.parametrize("num_calls", [10, 60, 90])
def test_an_interruption_of_a_search_on_draws_keeps_their_best(scorer, num_calls, monkeypatch):
    monkeypatch.setattr(tuners, "MANY_VIDEOS", 60)
    monkeypatch.setattr(tuners, "_DRAWS", (30, 120))
    calls = iter(range(10_000))

    def stop(_, values, **_settings):
        if next(calls) == num_calls:
            raise KeyboardInterrupt
        return 0.5 + values[0] / 10 - abs(values[1] - 0.1)

    monkeypatch.setattr(Scorer, "gap", stop)
    found = search_weights(scorer, method="coordinate")
    assert found.was_interrupted
    assert found.gap >= 0.6 - 0.1
    assert found.num_evaluations >= num_calls


@pytest.mark.parametrize("method", TUNERS)
def test_one_member_needs_no_search(method):
    scores, labels = make_predictions(num_members=1)
    single = Scorer(collect_candidates(blocks(scores, labels), names="a"), "probability")
    assert search_weights(single, method=method).values.tolist() == [1]


@pytest.mark.parametrize("method", TUNERS)
def test_an_interruption_keeps_the_best_so_far(scorer, method, monkeypatch):
    calls = iter(range(1000))

    def stop(values, **_settings):
        if next(calls) == 6:
            raise KeyboardInterrupt
        return 0.5 + values[0] / 10

    monkeypatch.setattr(scorer, "gap", stop)
    found = search_weights(scorer, method=method)
    assert found.was_interrupted
    assert found.gap == 0.6


def test_the_grid_holds_every_point_once():
    points = list(simplex_grid(3, 4))
    assert len(set(points)) == len(points) == 15
    assert all(sum(point) == 1 for point in points)


def test_all_methods_end_close_to_the_best(scorer):
    gaps = {method: search_weights(scorer, method=method).gap for method in TUNERS}
    assert max(gaps.values()) - min(gaps.values()) < 1e-3, gaps  # 200 videos: one pair is 1e-3


def test_the_smooth_stand_in_is_close_to_gap_and_has_its_gradient(scorer):
    values = np.array([0.5, 0.3, 0.2])
    smooth = SmoothGap(scorer, values)
    assert smooth(values)[0] == pytest.approx(scorer.gap(values), abs=0.02)
    values += [0.01, -0.02, 0.01]  # off the edges, which lie on the scores of the mixture above
    gradient = smooth(values)[1]
    for member, move in enumerate(np.eye(3) * 1e-7):
        slope = (smooth(values + move)[0] - smooth(values - move)[0]) / 2e-7
        assert gradient[member] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_bad_options_are_named(scorer):
    with pytest.raises(UsageError, match="no tuning method 'guess'; one of grid") as method:
        search_weights(scorer, method="guess")
    assert method.value.details == {"method": "guess"}
    with pytest.raises(UsageError, match="step of weights is 0,"):
        search_weights(scorer, method="grid", step=0)
    with pytest.raises(UsageError, match=r"step 0.0001 over 3 members has 50,015,001 points"):
        search_weights(scorer, method="grid", step=0.0001)
