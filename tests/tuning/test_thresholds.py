import json

import numpy as np
import pytest

from yt8m_ensemble.errors import PredictionsError, UsageError
from yt8m_ensemble.tuning.thresholds import Objective, fit_thresholds
from yt8m_ensemble.values import MixtureWeights

ONE = MixtureWeights.uniform(["m"])
CLASSES = 6


def draw(videos, *, seed=0):
    """Return scores `(1, N, C)` that tell classes apart to different degrees, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.random((videos, CLASSES)) < 0.3
    labels[:, 5] = False
    sharpness = np.array([0, 1, 2, 4, 8, 2])
    logits = rng.normal(size=labels.shape) + sharpness * (labels - 0.5)
    return (1 / (1 + np.exp(-logits)))[None].astype(np.float32), labels


def split(videos, num_folds=5, held_out=0):
    folds = np.arange(videos) % num_folds
    folds[:held_out] = -1
    return folds


def f1_of(scores, labels, thresholds):
    said = scores >= np.array([2 if t is None else t for t in thresholds])
    return 2 * (said & labels).sum() / (said.sum() + labels.sum())


def test_no_other_threshold_of_a_class_makes_f1_higher():
    scores, labels = draw(2000)
    found = fit_thresholds([(scores, labels)], ONE, Objective(), folds=split(2000))
    reached = f1_of(scores[0], labels, found.values)
    assert reached > 0.6
    assert found.values[5] is None  # no positives
    for c in range(CLASSES):
        for other in (None, *np.quantile(scores[0, :, c], np.linspace(0, 1, 200))):
            changed = [*found.values[:c], other, *found.values[c + 1 :]]
            assert f1_of(scores[0], labels, changed) < reached + 0.001


def test_a_class_that_no_score_tells_is_not_said_of_every_video():
    scores, labels = draw(2000)
    labels[:, 0] = np.arange(2000) % 50 == 0
    found = fit_thresholds([(scores, labels)], ONE, Objective(), folds=split(2000))
    assert found.values[0] is None


def test_a_precision_is_kept_at_the_highest_recall_or_nothing_is_said():
    scores, labels = draw(3000)
    objective = Objective(0.9)
    found = fit_thresholds([(scores, labels)], ONE, objective, folds=split(3000, held_out=1000))
    assert found.values[0] is None  # scores say nothing of class 0
    assert found.values[4] is not None
    (fold, held) = found.labellings
    assert (fold.videos, fold.num_videos) == ("out of fold", 2000)
    assert (held.videos, held.num_videos) == ("held out", 1000)
    assert min(fold.precision, held.precision) > 0.88
    for c, threshold in enumerate(found.values):
        if threshold is None:
            continue
        own, true = scores[0, 1000:, c], labels[1000:, c]
        assert true[own >= threshold].mean() >= 0.9
        lower = np.unique(own[own < threshold])
        best = max((true[own >= t].sum() for t in lower if true[own >= t].mean() >= 0.9), default=0)
        assert best <= true[own >= threshold].sum() + 3  # within the bins' width


def test_held_out_videos_are_not_fitted_on():
    scores, labels = draw(900)
    folds = split(900, held_out=300)
    first = fit_thresholds([(scores, labels)], ONE, Objective(), folds=folds)
    labels[:300] = ~labels[:300]
    second = fit_thresholds([(scores, labels)], ONE, Objective(), folds=folds)
    assert first.values == second.values
    assert first.labellings[0] == second.labellings[0]
    assert first.labellings[1].f1 > second.labellings[1].f1 + 0.1


def test_a_class_that_keeps_its_precision_by_luck_has_none():
    """All positives lie in one fold: without it nothing is known of the class."""
    scores = np.linspace(0.01, 0.99, 400, dtype=np.float32)[None, :, None]
    labels = np.zeros((400, 1), np.bool_)
    labels[300::5] = True
    folds = np.arange(400) % 5
    alone = fit_thresholds([(scores, labels)], ONE, Objective(0.15), folds=split(400, 1))
    assert alone.values[0] is not None
    folded = fit_thresholds([(scores, labels)], ONE, Objective(0.15), folds=folds)
    assert folded.values == (None,)
    one = np.zeros((400, 1), np.bool_)
    one[-1] = True  # right, and once only
    alone = fit_thresholds([(scores, one)], ONE, Objective(0.9), folds=split(400, 1))
    assert alone.values == (None,)


def test_blocks_count_together():
    scores, labels = draw(500)
    whole = fit_thresholds([(scores, labels)], ONE, Objective(), folds=split(500))
    parts = [(scores[:, a : a + 70], labels[a : a + 70]) for a in range(0, 500, 70)]
    assert fit_thresholds(parts, ONE, Objective(), folds=split(500)) == whole


def test_the_file():
    scores, labels = draw(500)
    found = fit_thresholds([(scores, labels)], ONE, Objective(0.9), folds=split(500))
    content = json.loads(found.to_json())
    assert content["format"] == 1
    assert content["num_classes"] == CLASSES
    assert content["objective"] == "precision:0.9"
    assert tuple(content["thresholds"]) == found.values


def test_videos_without_labels_are_refused():
    scores, labels = draw(50)
    with pytest.raises(PredictionsError, match="50 videos to tune on have no label"):
        fit_thresholds([(scores, np.zeros_like(labels))], ONE, Objective(), folds=split(50))


@pytest.mark.parametrize("text", ["f2", "precision", "precision:", "precision:0", "precision:1.1"])
def test_an_objective_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="expected `f1` or `precision:P`"):
        Objective.parse(text)
