"""Optimizers against their formulas in float64, step by step."""

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.training.optimizers import OPTIMIZERS, Now
from yt8m_ensemble.training.trainer import clip_by_norm

pytestmark = pytest.mark.tf

RATE = 0.1
DECAY = 0.01


def sgd(w, state, g, _):
    return w - RATE * g, state


def adam(w, state, g, t):
    m, v = state or (np.zeros_like(w), np.zeros_like(w))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    rate = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - rate * m / (np.sqrt(v) + 1e-8), (m, v)


def adamw(w, state, g, t):
    return adam(w - RATE * DECAY * w, state, g, t)


def adagrad(w, state, g, _):
    total = (0.1 if state is None else state) + g**2
    return w - RATE * g / np.sqrt(total), total


def rmsprop(w, state, g, _):
    mean = 0.9 * (1.0 if state is None else state) + 0.1 * g**2
    return w - RATE * g / np.sqrt(mean + 1e-10), mean


FORMULAS = {"SGD": sgd, "Adam": adam, "AdamW": adamw, "Adagrad": adagrad, "RMSProp": rmsprop}


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_steps_follow_the_formula(name):
    optimizer = OPTIMIZERS[name]
    expected = np.array([[1.0, -2.0, 3.0]])
    variable = tf.Variable(expected, dtype=tf.float32)
    slots = [tf.Variable(tf.fill((1, 3), start)) for _, start in optimizer.slots]
    counters = optimizer.first_counters()
    state, rng = None, np.random.default_rng(0)
    for t in range(1, 6):
        gradient = rng.standard_normal((1, 3))
        expected, state = FORMULAS[name](expected, state, gradient, t)
        now = Now(tf.constant(RATE), tf.constant(DECAY), counters)
        optimizer.apply(variable, slots, tf.constant(gradient, tf.float32), now)
        counters = optimizer.next_counters(counters)
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


def test_weight_decay_spares_vectors():
    variable = tf.Variable([1.0, 1.0])
    slots = [tf.Variable([0.0, 0.0]), tf.Variable([0.0, 0.0])]
    adamw_ = OPTIMIZERS["AdamW"]
    now = Now(tf.constant(RATE), tf.constant(0.5), adamw_.first_counters())
    adamw_.apply(variable, slots, tf.zeros(2), now)
    assert variable.numpy().tolist() == [1, 1]


def test_counters_are_the_originals_powers():
    counters = OPTIMIZERS["Adam"].first_counters()
    for _ in range(210):
        counters = OPTIMIZERS["Adam"].next_counters(counters)
    # What the original's checkpoint of step 210 holds.
    assert counters["beta1_power"] == pytest.approx(2.2139454e-10, rel=1e-6)
    assert counters["beta1_power"].dtype == np.float32


def test_clipping_by_hand():
    assert clip_by_norm(tf.constant([3.0, 4.0]), 1.0).numpy() == pytest.approx([0.6, 0.8])
    assert clip_by_norm(tf.constant([0.3, 0.4]), 1.0).numpy() == pytest.approx([0.3, 0.4])
    assert clip_by_norm(tf.constant([3.0, 4.0]), 0.0).numpy().tolist() == [3, 4]
    assert clip_by_norm(tf.zeros(2), 1.0).numpy().tolist() == [0, 0]
