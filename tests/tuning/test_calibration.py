"""One temperature for a mixture: the least of its own log loss, and what is said about it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tests.builders.predictions import blocks, make_predictions
from yt8m_ensemble.errors import PredictionsError
from yt8m_ensemble.metrics import global_average_precision
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.tuning.calibration import calibrate
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
MIXTURE = MixtureWeights(
    ("a", "b", "c"), (0.7, 0.0, 0.3), "logit",
    class_bias=tuple(np.random.default_rng(5).normal(size=LABELS.shape[1]).tolist()),
)  # fmt: skip
ROWS = np.arange(len(LABELS))


def log_loss(temperature, rows):
    scores = mix(list(SCORES[:, rows]), replace(MIXTURE, temperature=temperature))
    scores = scores.astype(np.float64)
    losses = np.where(LABELS[rows], -np.log(scores), -np.log1p(-scores))
    return losses.sum(axis=1).mean()


def test_the_temperature_has_the_least_log_loss_and_losses_are_of_the_other_videos():
    inner, outer = ROWS[::2], ROWS[1::2]
    found = calibrate(blocks(SCORES, LABELS), MIXTURE, inner, outer)
    best = minimize_scalar(log_loss, bounds=(0.2, 5), args=(inner,), options={"xatol": 1e-8})
    assert found.weights.temperature == pytest.approx(best.x, rel=1e-4)
    assert abs(found.weights.temperature - 1) > 0.05
    assert (found.videos, found.num_videos) == ("held out", len(outer))
    expected = (log_loss(1.0, outer), log_loss(found.weights.temperature, outer))
    assert found.log_loss == pytest.approx(expected, abs=1e-4)
    chances = mix(list(SCORES[:, outer]), found.weights)
    brier = np.sum((chances - LABELS[outer]) ** 2, axis=1, dtype=np.float64).mean()
    assert found.brier[1] == pytest.approx(brier, abs=1e-5)
    for group in found.reliability:
        assert group.counts.sum() == LABELS[outer].size
        true = np.sum(group.observed * group.counts)
        assert true == pytest.approx(np.count_nonzero(LABELS[outer]))


def test_no_score_moves_past_another():
    found = calibrate(blocks(SCORES, LABELS), MIXTURE, ROWS, ROWS[:0])
    assert found.videos == "in sample"
    gaps = [
        global_average_precision(mix(list(SCORES), mixture), LABELS)
        for mixture in (MIXTURE, found.weights)
    ]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-6)


@pytest.mark.parametrize("labels", [LABELS & False, LABELS | True])
def test_labels_that_are_all_alike_fit_no_temperature(labels):
    with pytest.raises(PredictionsError, match="all alike"):
        calibrate(blocks(SCORES, labels), MIXTURE, ROWS, ROWS[:0])
