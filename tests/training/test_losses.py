"""Losses by hand and against loops."""

import math

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.training.losses import LOSSES, smooth_labels

pytestmark = pytest.mark.tf

HALF = tf.constant([[0.5, 0.25]])
FIRST = tf.constant([[1.0, 0.0]])


def test_cross_entropy_by_hand():
    expected = -math.log(0.5 + 1e-5) - math.log(0.75 + 1e-5)
    assert float(LOSSES["CrossEntropyLoss"](HALF, FIRST)) == pytest.approx(expected, rel=1e-6)


def test_hinge_by_hand():
    assert float(LOSSES["HingeLoss"](HALF, FIRST)) == pytest.approx(0.5 + 1.25)


def test_softmax_by_hand():
    both = tf.constant([[1.0, 1.0]])
    shares = np.exp([0.5, 0.25]) / np.exp([0.5, 0.25]).sum()
    expected = -np.log(shares).mean()
    assert float(LOSSES["SoftmaxLoss"](HALF, both)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_the_mean_over_videos_and_finite_at_the_edges(name):
    one, other = tf.constant([[0.0, 1.0]]), tf.constant([[0.3, 0.6]])
    labels = [FIRST, tf.constant([[0.0, 0.0]])]
    alone = [float(LOSSES[name](p, y)) for p, y in zip((one, other), labels, strict=True)]
    together = float(LOSSES[name](tf.concat([one, other], 0), tf.concat(labels, 0)))
    assert together == pytest.approx(sum(alone) / 2, rel=1e-6)
    assert all(map(math.isfinite, alone))


def test_smoothing_by_hand():
    labels = tf.constant([[1.0, 1.0, 0.0, 0.0]])
    # (1 - 0.2) * 1 + 0.2 * 2 / 4 = 0.9, and 0.2 * 2 / 4 = 0.1
    np.testing.assert_allclose(smooth_labels(labels, 0.2), [[0.9, 0.9, 0.1, 0.1]], rtol=1e-6)
    np.testing.assert_array_equal(smooth_labels(labels, 0.0), labels)


def test_a_probability_rounded_above_one_is_no_nan():
    above = tf.constant([[1.0000002, 0.0]])
    expected = -math.log(1e-5)
    found = float(LOSSES["CrossEntropyLoss"](above, tf.zeros((1, 2))))
    assert found == pytest.approx(expected, rel=1e-4)
