"""Layers, pools and draws compute what a hand computes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models import layers
from yt8m_ensemble.models.frames import (
    average_frames,
    frame_mask,
    max_frames,
    sample_frames,
    sample_sequence,
)
from yt8m_ensemble.models.tower import GraphTower

pytestmark = pytest.mark.tf


def test_unit_length_by_hand():
    found = layers.l2_normalize(tf.constant([[3.0, 4.0], [0.0, 0.0]]), 1)
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0, 0]]), rtol=1e-6)


def test_pools_by_hand():
    frames = tf.constant([[[1.0, -5.0], [3.0, -1.0], [9.0, 9.0]]])
    mask = frame_mask(frames, tf.constant([2]))
    assert mask.numpy().tolist() == [[1, 1, 0]]
    assert average_frames(frames, mask).numpy().tolist() == [[2, -3]]
    assert max_frames(frames, mask).numpy().tolist() == [[3, -1]]
    assert average_frames(frames, 0 * mask).numpy().tolist() == [[0, 0]]


class Draws(GraphTower):
    """A tower whose draws are given."""

    def __init__(self, values):
        super().__init__()
        self.values = tf.constant(values, tf.float32)

    def uniform(self, shape):
        assert list(map(int, shape)) == self.values.shape
        return self.values


@given(
    num_frames=st.integers(1, 6),
    draws=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=4, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_draws_hit_true_frames_only(num_frames, draws):
    frames = tf.reshape(tf.range(6, dtype=tf.float32), (1, 6, 1))
    counts = tf.constant([num_frames])
    drawn = sample_frames(frames, counts, 4, Draws([draws])).numpy()[0, :, 0]
    # The draw is scaled in float32, as in the starter code.
    assert drawn.tolist() == [int(np.float32(d) * np.float32(num_frames)) for d in draws]
    run = sample_sequence(frames, counts, 4, Draws([draws[:1]])).numpy()[0, :, 0]
    assert run.max() < num_frames
    assert run.tolist() == [min(run[0] + i, num_frames - 1) for i in range(4)]


def test_an_empty_video_reads_its_padding():
    frames = tf.zeros((1, 2, 1))
    assert sample_frames(frames, tf.constant([0]), 1, Draws([[0.9]])).shape == (1, 1, 1)


def test_first_values_have_their_spread():
    rng = np.random.default_rng(0)
    assert abs(layers.normal(0.5, mean=2.0)(rng, (200, 200)).mean() - 2) < 0.02
    assert abs(layers.inverse_root(25)(rng, (200, 200)).std() - 0.2) < 0.005
    uniform = layers.glorot_uniform(rng, (100, 50))
    assert abs(uniform).max() <= 0.2
    assert abs(uniform).max() > 0.199
    assert uniform.dtype == np.float32


def test_two_operations_of_one_name_are_refused():
    with tf.Graph().as_default():
        tf.zeros((), name="tower/weights")
        with pytest.raises(ModelError, match="named 'tower/weights'") as caught:
            GraphTower().variable("weights", (1,), layers.zeros)
    assert caught.value.name == "tower/weights"


def test_an_inference_tower_neither_draws_nor_averages():
    with pytest.raises(NotImplementedError):
        GraphTower().uniform((1,))
    with pytest.raises(NotImplementedError):
        GraphTower().average("moving_mean", 0)
