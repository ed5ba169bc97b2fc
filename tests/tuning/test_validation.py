"""Judging: folds and held-out videos are never tuned on, intervals are paired, verdicts plain."""

from typing import Any

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from tests.tuning.test_candidates import dense_gap
from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.tuning import (
    Scorer,
    TuneSettings,
    collect_candidates,
    judge,
    search_weights,
    split_videos,
    tune,
)
from yt8m_ensemble.tuning.baselines import BASELINES, class_weights
from yt8m_ensemble.tuning.tuners import fit_temperatures
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
FAST_SEARCH: dict[str, Any] = {"method": "coordinate", "step": 0.2}
VIDEO_IDS = np.array([b"video%03d" % n for n in range(len(LABELS))])
FAST: dict[str, Any] = {"method": "coordinate", "step": 0.2, "bootstrap": 50, "shrink": 0}


@pytest.fixture(scope="module")
def candidates():
    return collect_candidates(blocks(SCORES, LABELS), names="abc", per_class=True)


def test_the_split_depends_on_ids_and_seed_alone():
    tuned_on, held_out = split_videos(VIDEO_IDS, fraction=0.3, seed=1)
    assert sorted([*tuned_on, *held_out]) == list(range(200))
    assert 30 < len(held_out) < 90
    fewer = split_videos(VIDEO_IDS[50:], fraction=0.3, seed=1)[1]
    np.testing.assert_array_equal(fewer + 50, held_out[held_out >= 50])
    assert not np.array_equal(held_out, split_videos(VIDEO_IDS, fraction=0.3, seed=2)[1])
    assert len(split_videos(VIDEO_IDS, fraction=0, seed=1)[1]) == 0


def test_both_judgements_are_of_videos_that_were_not_tuned_on(candidates):
    settings = TuneSettings(space="logit", folds=3, keep_tuned=True, **FAST)
    result = tune(candidates, VIDEO_IDS, settings)
    out_of_fold, held_out = result.judgements
    tuned_rows, held_rows = split_videos(VIDEO_IDS, fraction=0.5, seed=0)
    assert (out_of_fold.num_videos, held_out.num_videos) == (len(tuned_rows), len(held_rows))
    # The weights are those of a search that sees the tuned side alone.
    alone = search_weights(Scorer(candidates.select(tuned_rows), "logit"), **FAST_SEARCH)
    assert result.weights.values == pytest.approx(tuple(alone.values))
    expected = dense_gap(SCORES[:, held_rows], LABELS[held_rows], alone.values, "logit")
    assert result.gap_held_out == pytest.approx(expected, abs=1e-6)
    uniform = next(g for g in held_out.gains if g.over == "uniform logit")
    expected = dense_gap(SCORES[:, held_rows], LABELS[held_rows], np.full(3, 1 / 3), "logit")
    assert uniform.gap == pytest.approx(expected, abs=1e-6)
    assert uniform.difference == pytest.approx(held_out.gap - uniform.gap)
    assert uniform.interval[0] <= uniform.difference <= uniform.interval[1]
    assert result.optimism == pytest.approx(result.gap_in_sample - out_of_fold.gap)
    assert [g.over for g in held_out.gains] == ["uniform over kept members", *BASELINES]
    assert held_out.mixture == "tuned weights"


def test_auto_takes_the_space_of_highest_gap(candidates):
    results = {
        space: tune(
            candidates, VIDEO_IDS, TuneSettings(space=space, folds=0, keep_tuned=True, **FAST)
        )
        for space in ("auto", "probability", "logit", "geometric")
    }
    best = max(list(results)[1:], key=lambda space: results[space].trace[-1][1])
    assert results["auto"].weights.space == best
    assert results["auto"].gap_out_of_fold is None
    assert results["auto"].optimism is None


def test_all_videos_can_be_tuned_on_with_folds(candidates):
    result = tune(candidates, VIDEO_IDS, TuneSettings(space="logit", holdout=0, folds=2, **FAST))
    assert [j.name for j in result.judgements] == ["out of fold"]
    assert result.judgements[0].num_videos == 200
    assert result.gap_held_out is None


def test_weights_by_class_are_shrunk_towards_the_shared_ones(candidates):
    shared = MixtureWeights.normalized("abc", [0.5, 0.3, 0.2], space="logit")
    by_class = class_weights(candidates, shared)
    rows = np.array(by_class.class_values)
    assert rows.shape == (3, LABELS.shape[1])
    never = np.bincount(candidates.class_ids[candidates.hits], minlength=rows.shape[1]) == 0
    np.testing.assert_allclose(rows[:, never], np.repeat(shared.array[:, None], never.sum(), 1))
    assert np.abs(rows - shared.array[:, None]).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("specialists", [True, False])
def test_weights_by_class_are_taken_only_if_gap_out_of_fold_rises(specialists):
    # Specialists know one half of the classes each; else both members are alike but for noise.
    rng = np.random.default_rng(0)
    labels = rng.random((600, 30)) < 0.1
    noise = rng.random((2, 600, 30), np.float32)
    scores = 0.3 * noise + 0.7 * labels
    if specialists:
        scores[0, :, :15] = noise[0, :, :15]
        scores[1, :, 15:] = noise[1, :, 15:]
    video_ids = np.array([b"%d" % n for n in range(600)])
    candidates = collect_candidates(blocks(scores, labels), names="ab", per_class=True)
    result = tune(
        candidates, video_ids, TuneSettings(space="logit", folds=2, per_class=True, **FAST)
    )
    plain = tune(candidates, video_ids, TuneSettings(space="logit", folds=2, **FAST))
    gaps = {g.over: g.gap for g in result.judgements[0].gains}
    outside, plain_outside = result.judgements[0].gap, plain.judgements[0].gap
    assert bool(result.weights.class_values) is specialists
    if specialists:
        assert outside > plain_outside + 0.02
        assert gaps["tuned weights"] <= outside
        rows = np.array(result.weights.class_values)
        assert rows[1, :15].min() > rows[0, :15].max()
        held = split_videos(video_ids, fraction=0.5, seed=0)[1]
        dense = mix(list(scores[:, held]), result.weights)
        expected = global_average_precision(dense, labels[held])
        assert result.gap_held_out == pytest.approx(expected, abs=1e-9)
    else:
        assert outside == plain_outside
        assert gaps["weights by class"] <= outside


def test_weights_by_class_need_folds(candidates):
    with pytest.raises(UsageError, match="Set `yt8m-ens tune-weights --folds` to 2 or more"):
        tune(candidates, VIDEO_IDS, TuneSettings(folds=0, per_class=True))


def test_an_interrupted_search_is_judged_on_the_videos_held_out(candidates, monkeypatch):
    calls = iter(range(10_000))
    exact = Scorer.gap

    def stop(self, values, **settings):
        if next(calls) == 60:
            raise KeyboardInterrupt
        return exact(self, values, **settings)

    monkeypatch.setattr(Scorer, "gap", stop)
    result = tune(candidates, VIDEO_IDS, TuneSettings(folds=3, **FAST))
    assert result.was_interrupted
    assert result.chosen_by == "no folds"
    assert [j.name for j in result.judgements] == ["held out"]
    assert result.gap_in_sample > 0.5


def test_a_paired_interval_sees_what_single_errors_hide(candidates):
    logits = np.log(candidates.scores[0]) - np.log1p(-candidates.scores[0])
    better = logits + candidates.hits * np.float32(0.05)

    def judged(**scores):
        return judge(
            "held out",
            {
                name.replace("_", " "): Scorer(candidates, "probability").ranking_of(found)
                for name, found in scores.items()
            },
        )

    found = judged(better=better, uniform_logit=logits)
    gain = found.gains[0]
    assert gain.is_real
    assert gain.interval[1] - gain.interval[0] < found.standard_error
    assert found.verdict.endswith("the gain is real.")
    assert judged(worse=logits, uniform_logit=better).verdict.endswith(
        "uniform logit is better here."
    )
    assert "told from chance" in judged(same=logits, uniform_logit=logits).verdict


def test_temperatures_are_found_where_they_were_put(candidates):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(20_000) * 3
    truth = rng.random(20_000) < 1 / (1 + np.exp(-logits))
    scores = np.stack([1 / (1 + np.exp(-logits * t)) for t in (0.5, 1, 2)]).astype(np.float32)
    made = candidates.select(np.zeros(0, np.int64)).with_scores(scores[0])
    made = type(made)(
        tuple("abc"),
        np.array([0, 20_000]),
        np.arange(20_000),
        scores,
        truth,
        positives=np.array([1]),
        num_classes=20_000,
    )
    np.testing.assert_allclose(fit_temperatures(made), [0.5, 1, 2], rtol=0.05)


def test_bad_options_are_named(candidates):
    with pytest.raises(UsageError, match="0 folds and 0 held out leave nothing to judge on"):
        tune(candidates, VIDEO_IDS, TuneSettings(folds=0, holdout=0))
    few = candidates.select(np.arange(6))
    with pytest.raises(UsageError, match=r"folds of .* videos would be empty") as folds:
        tune(few, VIDEO_IDS[:6], TuneSettings(folds=7, holdout=0))
    assert folds.value.details == {"num_folds": 7, "num_videos": 6}
    with pytest.raises(UsageError, match=r"leaves .* to tune on and 0 to judge on"):
        split_videos(VIDEO_IDS[:2], fraction=1e-9, seed=0)
    empty = collect_candidates(blocks(SCORES, LABELS & False), names="abc")
    with pytest.raises(PredictionsError, match=r"None of the .* videos to tune on has a label"):
        tune(empty, VIDEO_IDS, TuneSettings())
