"""The certified interval of top-K predictions always holds the GAP of the full scores."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.builders.predictions import make_predictions
from tests.tuning.test_candidates import dense_gap
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.metrics import global_average_precision, top_k_classes
from yt8m_ensemble.mixing import mix_in_space
from yt8m_ensemble.tuning.candidates import collect_candidates
from yt8m_ensemble.tuning.class_bias import rank_exactly
from yt8m_ensemble.tuning.scoring import Scorer
from yt8m_ensemble.tuning.top_k_bounds import bound_gap, collect_top_k, rank_top_k
from yt8m_ensemble.values import SPACES, Kept, MixtureWeights


def truncate(scores, labels, kept):
    """One block of what each member keeps."""
    members = []
    for member in scores:
        class_ids = top_k_classes(member, kept)
        members.append(Kept.exact(class_ids, np.take_along_axis(member, class_ids, axis=1)))
    return [(members, labels)]


@st.composite
def cases(draw):
    """A few videos, tied or not, and a K between the metric's top k and all classes."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 14)))
    levels = draw(
        st.sampled_from([st.sampled_from([0, 1e-9, 0.1, 0.5, 1]), st.floats(0, 1, width=32)])
    )
    scores = draw(hnp.arrays(np.float32, shape, elements=levels))
    labels = draw(hnp.arrays(np.bool_, shape[1:]))
    top_k = draw(st.integers(1, shape[2]))
    kept = draw(st.integers(top_k, shape[2]))
    parts = draw(st.lists(st.integers(0, 20), min_size=shape[0], max_size=shape[0]))
    values = np.array(parts, np.float64) + (sum(parts) == 0)
    return scores, labels, top_k, kept, values / values.sum()


@settings(deadline=None, max_examples=300)
@given(cases(), st.sampled_from(SPACES))
def test_the_interval_holds_the_dense_value(case, space):
    scores, labels, top_k, kept, values = case
    if not labels.any():
        return
    weights = MixtureWeights.normalized("abc"[: len(scores)], values.tolist(), space=space)
    low, high = bound_gap(truncate(scores, labels, kept), weights, top_k=top_k)
    dense = dense_gap(scores, labels, weights.values, space, top_k)
    assert low - 1e-12 <= dense <= high + 1e-12


def test_keeping_everything_closes_the_interval_and_more_narrows_it():
    scores, labels = make_predictions()
    weights = MixtureWeights.normalized("abc", [0.5, 0.3, 0.2], space="logit")
    dense = dense_gap(scores, labels, weights.values, "logit")
    widths = []
    for kept in (20, 30, 45, 60):
        truncated = truncate(scores, labels, kept)
        low, high = bound_gap(truncated, weights)
        assert low - 1e-12 <= dense <= high + 1e-12
        guessed = Scorer(collect_top_k(truncated, names="abc"), "logit").gap(weights.values)
        assert low <= guessed <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0, abs=1e-12)


def test_classes_that_no_mixture_can_need_are_left_out():
    scores, labels = make_predictions()
    found = collect_top_k(truncate(scores, labels, scores.shape[2]), names="abc")
    needed = collect_candidates([(scores, labels)], names="abc")
    np.testing.assert_array_equal(found.class_ids, needed.class_ids)
    np.testing.assert_array_equal(found.scores, needed.scores)
    assert len(needed.class_ids) < 0.7 * labels.size


@settings(deadline=None, max_examples=200)
@given(cases(), st.data())
def test_the_interval_holds_with_a_class_bias(case, data):
    scores, labels, top_k, kept, values = case
    if not labels.any():
        return
    bias = data.draw(hnp.arrays(np.float64, labels.shape[1], elements=st.floats(-3, 3)))
    weights = MixtureWeights.normalized("abc"[: len(scores)], values.tolist(), space="logit")
    weights = replace(weights, class_bias=tuple(bias.tolist()))
    low, high = bound_gap(truncate(scores, labels, kept), weights, top_k=top_k)
    mixed = mix_in_space(list(scores), weights)
    dense = global_average_precision(mixed, labels, top_k=top_k)
    assert low - 1e-12 <= dense <= high + 1e-12


def test_bad_input_is_named():
    scores, labels = make_predictions(num_videos=5)
    with pytest.raises(PredictionsError, match=r"'a' keeps the top 10 .* GAP@20 needs 20") as few:
        collect_top_k(truncate(scores, labels, 10), names="abc")
    assert few.value.details == {"member": "a", "kept": 10, "top_k": 20}
    kept = [Kept.exact(np.zeros((5, 60), np.int32), np.full((5, 60), np.nan, np.float32))]
    with pytest.raises(PredictionsError, match="'a' scores a class of a video as nan"):
        collect_top_k([(kept, labels)], names="a")
    by_class = MixtureWeights(("a",), (1.0,), "logit", class_values=((1.0,) * 60,))
    with pytest.raises(PredictionsError, match="Weights by class cannot be judged"):
        bound_gap([(kept, labels)], by_class)


@pytest.mark.parametrize("num_videos", [7, 200])
def test_kept_scores_rank_with_a_bias_as_if_those_left_out_were_filled_in(num_videos):
    scores, labels = make_predictions(num_videos=num_videos)
    truncated = truncate(scores, labels, 25)
    filled = np.stack([kept.filled(labels.shape[1]) for kept in truncated[0][0]])
    rng = np.random.default_rng(0)
    uniform = MixtureWeights.uniform("abc", space="logit")
    # Whole numbers, so that biases tie.
    mixtures = [
        replace(uniform, class_bias=tuple(rng.integers(-8, 9, labels.shape[1]).tolist()))
        for _ in range(3)
    ]
    owners = rng.integers(-1, 3, (2, num_videos))
    found = rank_top_k(truncated, mixtures, owners)
    expected = rank_exactly([(filled, labels)], mixtures, owners)
    for ranked, wanted in zip(found, expected, strict=True):
        for name in ("indptr", "class_ids", "scores", "hits", "positives"):
            np.testing.assert_array_equal(getattr(ranked, name), getattr(wanted, name))
