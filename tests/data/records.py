"""Small record files, and ways to spoil them."""

import numpy as np
import tensorflow as tf

from yt8m_ensemble.data import encode_frames, encode_means, write_records
from yt8m_ensemble.values import FeatureSpec

MEANS = FeatureSpec(("mean_rgb", "mean_audio"), (4, 2), frame_level=False)
FRAMES = FeatureSpec(("rgb", "audio"), (4, 2), frame_level=True, max_frames=6)
NUM_CLASSES = 5


def make_means(index, *, rgb=4, audio=2, labels=None):
    rng = np.random.default_rng(index)
    values = {"mean_rgb": rng.uniform(-2, 2, rgb), "mean_audio": rng.uniform(-2, 2, audio)}
    labels = [index % NUM_CLASSES] if labels is None else labels
    return encode_means(f"v{index}".encode(), labels, values)


def make_frames(index, *, rgb=4, audio=2, labels=None, num_frames=None, num_audio_frames=None):
    rng = np.random.default_rng(index)
    num_frames = 1 + index % 9 if num_frames is None else num_frames
    num_audio = num_frames if num_audio_frames is None else num_audio_frames
    values = {
        "rgb": rng.integers(0, 256, (num_frames, rgb), np.uint8),
        "audio": rng.integers(0, 256, (num_audio, audio), np.uint8),
    }
    labels = [index % NUM_CLASSES] if labels is None else labels
    return encode_frames(f"v{index}".encode(), labels, values)


def write_shards(folder, make, counts=(5, 0, 3, 7)):
    """Write one file for each count, numbering the videos through; return the paths."""
    paths, start = [], 0
    for shard, count in enumerate(counts):
        path = str(folder / f"part{shard}.tfrecord")
        write_records(path, [make(index) for index in range(start, start + count)])
        paths.append(path)
        start += count
    return paths


def example(**features):
    """Serialize a `tf.train.Example` from lists of bytes, floats or ints."""
    return tf.train.Example(features=_features(features)).SerializeToString()


def sequence_example(context, **lists):
    """Serialize a `tf.train.SequenceExample`; each list holds one list of values a frame."""
    feature_list = {
        name: tf.train.FeatureList(feature=[_feature(values) for values in frames])
        for name, frames in lists.items()
    }
    return tf.train.SequenceExample(
        context=_features(context), feature_lists=tf.train.FeatureLists(feature_list=feature_list)
    ).SerializeToString()


def _features(features):
    return tf.train.Features(feature={name: _feature(v) for name, v in features.items()})


def _feature(values):
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
