"""Mixing against hand-worked values, float64 formulas and the properties that users rely on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yt8m_ensemble.errors import MixtureWeightsError, ShapeError
from yt8m_ensemble.mixing import EPSILON, from_space, mix, to_space
from yt8m_ensemble.values import SPACES, MixtureWeights

CONFIDENCES = st.floats(0, 1, width=32)


@st.composite
def mixtures(draw, *, space=None):
    num_members = draw(st.integers(1, 4))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    scores = [draw(hnp.arrays(np.float32, shape, elements=CONFIDENCES)) for _ in range(num_members)]
    values = draw(st.lists(st.floats(0.01, 1), min_size=num_members, max_size=num_members))
    names = [f"m{i}" for i in range(num_members)]
    space = space or draw(st.sampled_from(SPACES))
    return scores, MixtureWeights.normalized(names, values, space=space)


def expected(scores, weights):
    """The formulas in float64, after the float32 clip that is part of the contract."""
    low, high = float(np.float32(EPSILON)), float(np.float32(1 - EPSILON))
    stack = np.stack(scores).astype(np.float64)
    clipped = np.clip(stack, low, high)
    share = weights.array[:, None, None]
    if weights.space == "probability":
        return (share * stack).sum(axis=0)
    if weights.space == "geometric":
        return np.prod(clipped**share, axis=0)
    odds = np.prod((clipped / (1 - clipped)) ** share, axis=0)
    return odds / (1 + odds)


@settings(deadline=None)
@given(mixtures())
def test_follows_the_formula_to_1e6_and_stays_between_the_members(case):
    scores, weights = case
    mixed = mix(scores, weights)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, expected(scores, weights), rtol=0, atol=1e-6)
    stack = np.stack(scores)
    assert np.all(mixed >= stack.min(axis=0) - 1e-6)
    assert np.all(mixed <= stack.max(axis=0) + 1e-6)


@given(mixtures(space="probability"), st.data())
def test_one_hot_returns_the_member_bit_for_bit(case, data):
    scores, weights = case
    chosen = data.draw(st.integers(0, len(scores) - 1))
    one_hot = MixtureWeights(weights.names, tuple(float(i == chosen) for i in range(len(scores))))
    np.testing.assert_array_equal(mix(scores, one_hot), scores[chosen])


@pytest.mark.parametrize("space", SPACES)
def test_the_way_back_undoes_the_link_and_keeps_the_order(space):
    scores = np.linspace(0, 1, 101, dtype=np.float32)
    back = from_space(to_space(scores, space), space)
    np.testing.assert_allclose(back, scores, rtol=0, atol=1e-6)
    assert np.all(np.diff(back) >= 0)


@pytest.mark.parametrize("space", SPACES)
def test_float16_scores_and_the_ends_of_the_range_stay_finite(space):
    ends = [np.array([[0, 1]], np.float16), np.array([[1, 0]], np.float16)]
    mixed = mix(ends, MixtureWeights.uniform(["a", "b"], space=space))
    assert np.isfinite(mixed).all()
    assert mixed.dtype == np.float32


def test_bad_input_is_named():
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(MixtureWeightsError, match="1 members' scores for 2 mixture") as count:
        mix([ones], MixtureWeights.uniform(["a", "b"]))
    assert count.value.details == {"scores": 1, "weights": 2}
    with pytest.raises(ShapeError, match=r"a \(2, 3\), b \(1, 3\)") as shape:
        mix([ones, ones[:1]], MixtureWeights.uniform(["a", "b"]))
    assert shape.value.details == {"shapes": [(1, 3), (2, 3)]}
