import numpy as np
import pytest

from yt8m_ensemble.metrics.evaluation import cross_entropy, evaluate


def slow_cross_entropy(scores, labels):
    total = 0.0
    for row, truth in zip(scores, labels, strict=True):
        for p, y in zip(row, truth, strict=True):
            total -= np.log(p + 1e-5) if y else np.log(1 - p + 1e-5)
    return total


def test_cross_entropy_equals_its_formula():
    draw = np.random.default_rng(3)
    scores, labels = draw.random((6, 5)).astype(np.float32), draw.random((6, 5)) < 0.3
    assert cross_entropy(scores, labels) == pytest.approx(slow_cross_entropy(scores, labels))


def test_cut_into_batches_nothing_changes():
    draw = np.random.default_rng(4)
    scores = draw.random((50, 9)).astype(np.float32)
    labels = draw.random((50, 9)) < 0.2
    whole = evaluate([(scores, labels)], num_classes=9)
    cut = evaluate([(scores[i : i + 7], labels[i : i + 7]) for i in range(0, 50, 7)], num_classes=9)
    assert cut.metrics == whole.metrics
    assert cut.loss == pytest.approx(whole.loss)
