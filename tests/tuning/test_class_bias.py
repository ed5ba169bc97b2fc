"""A bias a class: the root it promises, exact ranking under large biases, and when it is taken."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import MixtureWeightsError, ShapeError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix, to_space
from yt8m_ensemble.tuning import Scorer, TuneSettings, collect_candidates, split_videos, tune
from yt8m_ensemble.tuning.baselines import apply_mixture
from yt8m_ensemble.tuning.class_bias import allowed_precisions, fit_class_bias, rank_exactly
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
CLASSES = LABELS.shape[1]
UNIFORM = MixtureWeights.uniform("abc", space="logit")


@pytest.fixture(scope="module")
def candidates():
    return collect_candidates(blocks(SCORES, LABELS), names="abc", per_class=True)


def test_the_bias_is_the_root_of_its_equation(candidates):
    for precision in (0.5, 10.0):
        bias = np.array(fit_class_bias(candidates, UNIFORM, precision=precision).class_bias)
        margins = to_space(candidates.scores, "logit").mean(axis=0, dtype=np.float64)
        chance = 1 / (1 + np.exp(-(margins + bias[candidates.class_ids])))
        slope = (
            np.bincount(candidates.class_ids, chance - candidates.hits, minlength=CLASSES)
            + precision * bias
        )
        assert np.abs(slope).max() < 1e-5
        # A prior of more precision holds biases nearer to 0.
        assert np.abs(bias).max() < 20 / precision


def test_a_class_without_positives_gets_a_finite_bias_and_an_absent_one_none(candidates):
    never = candidates.hits & False
    some = replace(candidates, hits=never, num_classes=CLASSES + 1)
    bias = np.array(fit_class_bias(some, UNIFORM, precision=3).class_bias)
    assert np.isfinite(bias).all()
    assert (bias[:CLASSES][np.bincount(candidates.class_ids, minlength=CLASSES) > 0] < 0).all()
    assert bias[CLASSES] == 0


def test_few_videos_allow_no_weak_prior():
    assert min(allowed_precisions(2_999)) == 10
    assert min(allowed_precisions(3_000)) == 3


@pytest.mark.parametrize("seed", range(5))
def test_biases_of_eight_are_ranked_as_dense_scores_are(seed):
    rng = np.random.default_rng(seed)
    biased = replace(UNIFORM, class_bias=tuple(rng.choice([-8.0, 8.0], CLASSES).tolist()))
    dense = global_average_precision(mix(list(SCORES), biased), LABELS)
    (ranked,) = rank_exactly(blocks(SCORES, LABELS), [biased], np.zeros((1, len(LABELS)), np.int64))
    assert Scorer(ranked, "probability").gap([1]) == pytest.approx(dense, abs=1e-12)
    gathered = collect_candidates(blocks(SCORES, LABELS), names="abc", bias=biased.class_bias)
    scorer = Scorer(gathered, "probability")
    assert scorer.gap_of(apply_mixture(biased)(gathered)) == pytest.approx(dense, abs=1e-12)
    # What the plain mixture needs is still there.
    plain = global_average_precision(mix(list(SCORES), UNIFORM), LABELS)
    assert scorer.gap_of(apply_mixture(UNIFORM)(gathered)) == pytest.approx(plain, abs=1e-12)


def test_each_video_is_ranked_by_its_own_mixture():
    mixtures = [MixtureWeights(tuple("abc"), tuple(row), "logit") for row in np.eye(3).tolist()]
    owners = np.arange(len(LABELS)) % 4 - 1
    (ranked,) = rank_exactly(blocks(SCORES, LABELS), mixtures, owners[None])
    kept = owners >= 0
    mixed = SCORES[owners[kept], np.flatnonzero(kept)]
    expected = global_average_precision(mixed, LABELS[kept])
    assert ranked.num_videos == kept.sum()
    assert Scorer(ranked, "probability").gap([1]) == pytest.approx(expected, abs=1e-9)


def shifted(rng, num_videos=900):
    """Return scores of three members whose classes are off by a constant each, and labels."""
    labels = rng.random((num_videos, 40)) < 0.1
    logits = 4.0 * labels - 4 + rng.normal(size=(3, num_videos, 40))
    logits += rng.normal(scale=2.0, size=40)
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


@pytest.mark.parametrize("is_off", [True, False], ids=["off", "right"])
def test_it_is_taken_only_where_gap_rises_for_certain(is_off):
    rng = np.random.default_rng(0)
    scores, labels = shifted(rng)
    if not is_off:
        logits = 4.0 * labels - 4 + rng.normal(size=scores.shape)
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    ids = np.array([b"%d" % n for n in range(len(labels))])
    candidates = collect_candidates(blocks(scores, labels), names="abc", per_class=True)
    settings = TuneSettings(method="coordinate", step=0.2, bootstrap=100, folds=3)
    result = tune(
        candidates, ids, settings, rank=lambda *given: rank_exactly(blocks(scores, labels), *given)
    )
    plain = tune(candidates, ids, settings)
    assert bool(result.weights.class_bias) is is_off
    assert result.gap_out_of_fold
    assert plain.gap_out_of_fold
    assert (result.bias_precision is not None) is is_off
    held = split_videos(ids, fraction=0.5, seed=0)[1]
    dense = mix(list(scores[:, held]), result.weights)
    assert result.gap_held_out == pytest.approx(
        global_average_precision(dense, labels[held]), abs=1e-9
    )
    if is_off:
        assert result.judgements[0].mixture.endswith("with class bias")
        assert result.gap_out_of_fold > plain.gap_out_of_fold + 0.01
    else:
        assert result.gap_out_of_fold == plain.gap_out_of_fold


def test_a_mixture_file_keeps_bias_and_temperature():
    mixture = replace(UNIFORM, class_bias=(0.5, -1.0), temperature=1.5)
    again = MixtureWeights.parse(mixture.to_json(), path="w.json")
    assert again == mixture
    assert '"format": 2' in mixture.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"format": 2, "bias": [1]', "unknown key `bias`"),
        ('"format": 3', "has format 3, expected 1 or 2"),
        ('"class_bias": ["x"]', r"`class_bias\[0\]`: expected a number, got text"),
        ('"temperature": 0', "The temperature is 0.0, expected a number above 0"),
    ],
)
def test_files_that_are_no_mixture_are_refused(text, message):
    whole = f'{{"members": ["a"], "weights": [1.0], "space": "logit", {text}}}'
    with pytest.raises(MixtureWeightsError, match=message):
        MixtureWeights.parse(whole, path="w.json")


def test_bias_and_temperature_belong_to_logits():
    with pytest.raises(MixtureWeightsError, match=r"go.* with logit space only"):
        MixtureWeights("a", (1.0,), "probability", class_bias=(0.1,))  # type: ignore[arg-type]
    with pytest.raises(MixtureWeightsError, match="The bias of class 1 is nan"):
        replace(UNIFORM, class_bias=(0.1, float("nan")))
    with pytest.raises(ShapeError, match="biases of 2 classes, the scores are of"):
        mix(list(SCORES), replace(UNIFORM, class_bias=(0.1, 0.2)))


def test_bias_and_temperature_move_scores_as_the_formula_says():
    scores = [np.full((1, 2), 0.5, np.float32)] * 3
    mixed = mix(scores, replace(UNIFORM, class_bias=(np.log(3.0), 0.0)))
    np.testing.assert_allclose(mixed, [[0.75, 0.5]], atol=1e-6)
    cooled = mix(scores, replace(UNIFORM, class_bias=(2 * np.log(3.0), 0.0), temperature=2.0))
    np.testing.assert_allclose(cooled, mixed, atol=1e-6)
