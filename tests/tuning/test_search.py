"""Every tuner of the table goes through one suite: valid, seeded, never below where it starts."""

import numpy as np
import pytest

from tests.tuning.builders import blocks, make_predictions
from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.tuning import TUNERS, Scorer, collect_candidates, search_weights
from yt8m_ensemble.tuning.search import simplex_grid


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
def test_one_member_needs_no_search(method):
    scores, labels = make_predictions(num_members=1)
    single = Scorer(collect_candidates(blocks(scores, labels), names="a"), "probability")
    assert search_weights(single, method=method).values.tolist() == [1]


@pytest.mark.parametrize("method", TUNERS)
def test_an_interruption_keeps_the_best_so_far(scorer, method, monkeypatch):
    calls = iter(range(1000))

    def stop(values):
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


def test_bad_options_are_named(scorer):
    with pytest.raises(UsageError, match="no tuning method 'guess'; one of grid") as method:
        search_weights(scorer, method="guess")
    assert method.value.facts == {"method": "guess"}
    with pytest.raises(UsageError, match="step of weights is 0,"):
        search_weights(scorer, method="grid", step=0)
    with pytest.raises(UsageError, match=r"step 0.0001 over 3 members has 50,015,001 points"):
        search_weights(scorer, method="grid", step=0.0001)
