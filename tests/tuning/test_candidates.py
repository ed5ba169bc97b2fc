"""Candidates lose nothing: GAP from them is the GAP of the mixed dense scores, ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import to_space
from yt8m_ensemble.tuning import Scorer, collect_candidates
from yt8m_ensemble.tuning.kernels import LANES
from yt8m_ensemble.values import SPACES


def dense_gap(scores, labels, values, space, top_k=20):
    """GAP of all classes, mixed as `mixing.mix` does, before the way back from the space."""
    mixed = np.zeros(labels.shape, np.float32)
    for member, value in zip(scores, values, strict=True):
        mixed += np.float32(value) * to_space(member, space)
    return global_average_precision(mixed, labels, top_k=top_k)


@st.composite
def cases(draw):
    """A few videos whose scores tie heavily, within videos and across."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 12)))
    levels = st.sampled_from([0.0, 1e-9, 1e-8, 0.1, 0.10000001, 0.5, 0.9, 1.0])
    scores = draw(hnp.arrays(np.float32, shape, elements=levels))
    labels = draw(hnp.arrays(np.bool_, shape[1:]))
    parts = draw(st.lists(st.integers(0, 20), min_size=shape[0], max_size=shape[0]))
    values = np.array(parts, np.float64) + (sum(parts) == 0)
    return scores, labels, values / values.sum()


@settings(deadline=None, max_examples=300)
@given(cases(), st.sampled_from(SPACES), st.integers(1, 5))
def test_gap_is_that_of_the_dense_scores_with_heavy_ties(case, space, top_k):
    scores, labels, values = case
    names = [f"m{i}" for i in range(len(scores))]
    candidates = collect_candidates(blocks(scores, labels, size=4), names=names, top_k=top_k)
    found = Scorer(candidates, space).gap(values)
    expected = dense_gap(scores, labels, values, space, top_k)
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("space", SPACES)
def test_few_candidates_suffice_on_long_tails(space):
    scores, labels = make_predictions(num_classes=500)
    candidates = collect_candidates(blocks(scores, labels), names="abc")
    assert len(candidates.class_ids) < 0.2 * labels.size
    for values in np.random.default_rng(0).dirichlet(np.ones(3), size=5):
        expected = dense_gap(scores, labels, values, space)
        assert Scorer(candidates, space).gap(values) == pytest.approx(expected, abs=1e-12)


def test_selected_videos_and_members_score_alone():
    scores, labels = make_predictions()
    candidates = collect_candidates(blocks(scores, labels), names="abc")
    rows = np.array([5, 3, 150, 151])
    part = candidates.select(rows).select_members([2, 0])
    assert part.names == ("c", "a")
    expected = dense_gap(scores[[2, 0]][:, rows], labels[rows], [0.5, 0.5], "logit")
    assert Scorer(part, "logit").gap([0.5, 0.5]) == pytest.approx(expected, abs=1e-12)


def test_a_resample_is_scored_as_if_its_videos_were_copied():
    scores, labels = make_predictions(num_videos=30)
    scorer = Scorer(collect_candidates(blocks(scores, labels), names="abc"), "probability")
    ranking = scorer.ranking([0.2, 0.3, 0.5])
    copies = np.random.default_rng(0).poisson(1, (30, LANES)).astype(np.uint8)
    copies[:, 1] = 1
    copies[:, 2] = 0
    rows = np.repeat(np.arange(30), copies[:, 0])
    expected = dense_gap(scores[:, rows], labels[rows], [0.2, 0.3, 0.5], "probability")
    # Copies of a video tie with each other; the resample ranks copies of one pair together.
    sums = ranking.resampled_precisions(copies.view(np.uint64))
    gaps = sums[:2] / (ranking.positives @ copies[:, :2])
    assert gaps[0] == pytest.approx(expected, abs=2e-3)
    assert gaps[1] == pytest.approx(scorer.gap([0.2, 0.3, 0.5]), abs=1e-12)
    assert ranking.gap == scorer.gap([0.2, 0.3, 0.5])
    assert sums[2] == 0


def test_bad_input_is_named():
    scores, labels = make_predictions(num_videos=5)
    with pytest.raises(PredictionsError, match="listed twice: a, a, b"):
        collect_candidates(blocks(scores, labels), names="aab")
    with pytest.raises(PredictionsError, match="no video"):
        collect_candidates([], names="abc")
    scores[1, 2, 7] = np.nan
    with pytest.raises(PredictionsError, match="'b' scores class 7 of a video as nan") as nan:
        collect_candidates(blocks(scores, labels), names="abc")
    assert nan.value.details == {"member": "b", "class_id": 7}
