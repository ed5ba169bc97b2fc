"""Weights of checkpoints."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.averaging.oracle import ema_weights
from yt8m_ensemble.averaging import average_weights
from yt8m_ensemble.errors import MixtureWeightsError


@pytest.mark.parametrize(
    ("scheme", "weights"),
    [
        ("uniform", (0.25, 0.25, 0.25, 0.25)),
        ("linear", (0.1, 0.2, 0.3, 0.4)),
        ("ema:0.5", (0.125, 0.125, 0.25, 0.5)),
        ("ema:0", (0.0, 0.0, 0.0, 1.0)),
        ("0,1,1,2", (0.0, 0.25, 0.25, 0.5)),
        ([2, 2, 2, 2], (0.25, 0.25, 0.25, 0.25)),
    ],
)
def test_by_hand(scheme, weights):
    assert average_weights(scheme, 4) == pytest.approx(weights, abs=1e-15)


@settings(deadline=None)
@given(st.floats(0, 0.99), st.integers(1, 12))
def test_ema_is_the_running_average(decay, count):
    assert average_weights(f"ema:{decay!r}", count) == pytest.approx(ema_weights(decay, count))


@settings(deadline=None)
@given(st.sampled_from(["uniform", "linear", "ema:0.7"]), st.integers(1, 50))
def test_they_sum_to_one_and_are_not_negative(scheme, count):
    weights = average_weights(scheme, count)
    assert len(weights) == count
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert min(weights) >= 0


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("exponential", r"'exponential' is no way to weigh checkpoints\. Use `uniform`"),
        ("ema:x", "The decay in 'ema:x' must be a number from 0 to below 1"),
        ("ema:1", "The decay in 'ema:1'"),
        ("1,2,3", "There are 3 weights for 2 checkpoints"),
        ("1,-1", "The weights 1, -1 must be finite and not negative"),
        ("0,0", "one of them above 0"),
        ("nan,1", "must be finite"),
    ],
)
def test_refused(scheme, words):
    with pytest.raises(MixtureWeightsError, match=words) as error:
        average_weights(scheme, 2)
    assert error.value.details
