"""The rule that hardly ever loses to the plain mean: what is dropped, how far weights shrink."""

from typing import Any

import numpy as np
import pytest

from tests.builders.predictions import blocks
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.tuning import TuneSettings, collect_candidates, tune
from yt8m_ensemble.tuning.shrinkage import CONSTANT, HARMFUL, find_harmful, fit_shrunk
from yt8m_ensemble.values import MixtureWeights

CLASSES = 40


def draw(strengths, num_videos=600, seed=0):
    """Return scores of members that know the labels the better the larger their strength."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_videos, CLASSES)) < 0.08
    logits = np.stack([s * labels - 3 + rng.normal(size=labels.shape) for s in strengths])
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def collect(scores, labels):
    names = tuple("abcdefgh"[: len(scores)])
    return collect_candidates(blocks(scores, labels), names=names, per_class=True)


def ids(count):
    return np.array([b"%d" % number for number in range(count)])


@pytest.mark.parametrize(
    "broken",
    [
        lambda scores: np.full_like(scores, 0.3),
        np.zeros_like,
        lambda scores: np.broadcast_to(scores[:1], scores.shape),
    ],
    ids=["constant", "zero", "one video's scores"],
)
def test_a_member_that_looks_at_no_video_gets_weight_zero(broken):
    scores, labels = draw([3, 3, 3])
    scores[1] = broken(scores[1])
    candidates = collect(scores, labels)
    assert find_harmful(candidates, "logit", seed=0) == {"b": CONSTANT}
    result = tune(candidates, ids(600), TuneSettings(bootstrap=50, folds=2))
    assert result.weights.values[1] == 0
    assert result.dropped == {"b": CONSTANT}


def test_a_member_that_says_the_opposite_gets_weight_zero():
    scores, labels = draw([3, 3, 3])
    scores[2] = 1 - scores[2]
    assert find_harmful(collect(scores, labels), "logit", seed=0) == {"c": HARMFUL}


def test_members_that_help_are_kept_and_one_is_always_left():
    scores, labels = draw([3, 2.5, 2])
    assert find_harmful(collect(scores, labels), "logit", seed=0) == {}
    assert find_harmful(collect(scores[:1], labels), "logit", seed=0) == {}
    same = np.full_like(scores[:2], 0.5)
    assert find_harmful(collect(same, labels), "logit", seed=0) == {}


def test_of_a_member_and_its_copy_one_is_left():
    scores, labels = draw([3, 3])
    copied = np.concatenate([scores, scores[:1]])
    # Counted twice it outweighs the other member, and the mean is better without the copy.
    assert list(find_harmful(collect(copied, labels), "logit", seed=0)) in (["a"], ["c"], [])


def test_weights_shrink_towards_the_uniform_mean_of_the_members_kept():
    scores, labels = draw([3, 1.5, 3])
    scores[2] = 1 - scores[2]
    options: dict[str, Any] = {"method": "coordinate", "step": 0.1, "seed": 0}
    candidates = collect(scores, labels)
    free = fit_shrunk(candidates, "logit", shrink=0, **options)
    half = fit_shrunk(candidates, "logit", shrink=600, **options)
    assert (free.shrinkage, half.shrinkage) == (1, 0.5)
    expected = 0.5 * free.weights.array + 0.5 * np.array([0.5, 0.5, 0])
    np.testing.assert_allclose(half.weights.array, expected, atol=1e-12)
    assert half.uniform.values == (0.5, 0.5, 0)


def test_what_is_written_is_what_was_better_out_of_fold():
    for strengths in ([3, 3, 3], [4, 1, 1]):
        scores, labels = draw(strengths, seed=3)
        settings = TuneSettings(bootstrap=50, folds=3)
        result = tune(collect(scores, labels), ids(600), settings)
        out_of_fold = result.judgements[0]
        assert result.chosen_by in {"out of fold", "held out"}
        other = (
            "uniform over kept members"
            if out_of_fold.mixture == "tuned weights"
            else "tuned weights"
        )
        assert out_of_fold.gap >= next(g.gap for g in out_of_fold.gains if g.over == other)
        if out_of_fold.mixture == "uniform over kept members":
            assert result.shrinkage == 0


def test_few_videos_and_no_folds_take_the_uniform_mean():
    scores, labels = draw([3, 2.5], num_videos=80)
    few = tune(collect(scores, labels), ids(80), TuneSettings(bootstrap=20, folds=2))
    assert few.chosen_by == "too few videos"
    assert few.weights.values == (0.5, 0.5)
    scores, labels = draw([4, 2.5])
    candidates = collect(scores, labels)
    without = tune(candidates, ids(600), TuneSettings(bootstrap=20, folds=0))
    assert (without.chosen_by, without.weights.values) == ("no folds", (0.5, 0.5))
    kept = tune(candidates, ids(600), TuneSettings(bootstrap=20, folds=0, keep_tuned=True))
    assert kept.chosen_by == "keep tuned"
    assert kept.weights.values[0] > 0.5


def test_weights_that_lose_on_held_out_videos_for_certain_are_not_written():
    # Member b is right on the side that is tuned on and wrong on the other.
    from yt8m_ensemble.tuning import split_videos

    scores, labels = draw([2.5, 2.5])
    held = split_videos(ids(600), fraction=0.5, seed=0)[1]
    good, _ = draw([3, 3], seed=0)
    scores[1] = good[1]
    rng = np.random.default_rng(5)
    scores[1, held] = rng.random(scores[1, held].shape)
    result = tune(
        collect(scores, labels), ids(600), TuneSettings(bootstrap=100, folds=2, class_bias=False)
    )
    assert result.chosen_by == "held out"
    assert result.judgements[-1].was_used
    assert "were used to choose" in result.judgements[-1].verdict
    mixed = mix(list(scores[:, held]), MixtureWeights.uniform("ab", space="logit"))
    expected = global_average_precision(mixed, labels[held])
    assert result.gap_held_out == pytest.approx(expected, abs=1e-9)
