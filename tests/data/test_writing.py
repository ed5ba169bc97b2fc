"""Records are what TensorFlow's own message classes would write."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.records import example, sequence_example
from yt8m_ensemble.data import encode_frames, encode_means, write_records

pytestmark = pytest.mark.tf


def test_means_equal_the_library_message():
    expected = example(id=[b"a"], labels=[3, 1], mean_rgb=[0.5, -1.0], mean_audio=[0.25])
    means = {"mean_rgb": np.array([0.5, -1.0]), "mean_audio": np.array([0.25])}
    written = encode_means(b"a", [3, 1], means)
    assert tf.train.Example.FromString(written) == tf.train.Example.FromString(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 300), st.lists(st.integers(0, 9999), max_size=4))
def test_frames_equal_the_library_message(num_frames, size, labels):
    draw = np.random.default_rng(size)
    frames = draw.integers(0, 256, (num_frames, size), np.uint8)
    other = draw.integers(0, 256, (num_frames, 2), np.uint8)
    expected = sequence_example(
        {"id": [b"a"], "labels": labels},
        rgb=[[row.tobytes()] for row in frames],
        audio=[[row.tobytes()] for row in other],
    )
    written = encode_frames(b"a", labels, {"rgb": frames, "audio": other})
    message = tf.train.SequenceExample
    assert message.FromString(written) == message.FromString(expected)


def test_no_feature_and_no_frame_are_written_too():
    written = encode_frames(b"a", [], {"rgb": np.zeros((0, 4), np.uint8)})
    record = tf.train.SequenceExample.FromString(written)
    assert len(record.feature_lists.feature_list["rgb"].feature) == 0


def test_files_read_back(tmp_path):
    path = str(tmp_path / "r.tfrecord")
    assert write_records(path, [b"one", b"", b"three"]) == 3
    read = tf.data.TFRecordDataset(path, buffer_size=1024).as_numpy_iterator()
    assert list(read) == [b"one", b"", b"three"]
