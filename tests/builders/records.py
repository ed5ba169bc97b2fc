"""Small record files: of random and of learnable videos, and single records to spoil."""

import numpy as np
import tensorflow as tf

from tests.builders.models import NUM_CLASSES
from yt8m_ensemble.data import encode_frames, encode_means, write_records
from yt8m_ensemble.values import FeatureSpec

# What `make_means` and `make_frames` make.
MEANS = FeatureSpec(("mean_rgb", "mean_audio"), (4, 2), frame_level=False)
FRAMES = FeatureSpec(("rgb", "audio"), (4, 2), frame_level=True, max_frames=6)
MADE_CLASSES = 5


def write_video_records(path, *, videos=10, seed=0, first=0, prefix="v"):
    """Write random videos of one or two labels for small video-level models; ids from `first`."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(videos):
        values = {"mean_rgb": rng.normal(size=6), "mean_audio": rng.normal(size=2)}
        labels = sorted({number % NUM_CLASSES, number * 3 % NUM_CLASSES})
        records.append(encode_means(f"{prefix}{first + number:03d}".encode(), labels, values))
    write_records(str(path), records)
    return path


def write_learnable_records(directory, *, videos=64, shards=2, frame_level=False, seed=0, first=0):
    """Write `train<shard>.tfrecord` files for small models and return their glob.

    Each class pulls the features its own way.
    """
    rng = np.random.default_rng(seed)
    pulls = np.random.default_rng(99).standard_normal((NUM_CLASSES, 8))
    directory.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(videos):
        drawn = np.flatnonzero(rng.random(NUM_CLASSES) < 0.4)
        labels = drawn.tolist() or [number % NUM_CLASSES]
        mean = pulls[labels].sum(0) + 0.2 * rng.standard_normal(8)
        video_id = f"v{first + number:04d}".encode()
        if frame_level:
            noise = 0.3 * rng.standard_normal((rng.integers(2, 6), 8))
            frames = np.clip((mean + noise) * 255 / 8 + 128, 0, 255).astype(np.uint8)
            values = {"rgb": frames[:, :6], "audio": frames[:, 6:]}
            records.append(encode_frames(video_id, labels, values))
        else:
            values = {"mean_rgb": mean[:6], "mean_audio": mean[6:]}
            records.append(encode_means(video_id, labels, values))
    for shard in range(shards):
        write_records(str(directory / f"train{shard}.tfrecord"), records[shard::shards])
    return str(directory / "train*.tfrecord")


def make_means(index, *, rgb=4, audio=2, labels=None):
    rng = np.random.default_rng(index)
    values = {"mean_rgb": rng.uniform(-2, 2, rgb), "mean_audio": rng.uniform(-2, 2, audio)}
    labels = [index % MADE_CLASSES] if labels is None else labels
    return encode_means(f"v{index}".encode(), labels, values)


def make_frames(index, *, rgb=4, audio=2, labels=None, num_frames=None, num_audio_frames=None):
    rng = np.random.default_rng(index)
    num_frames = 1 + index % 9 if num_frames is None else num_frames
    num_audio = num_frames if num_audio_frames is None else num_audio_frames
    values = {
        "rgb": rng.integers(0, 256, (num_frames, rgb), np.uint8),
        "audio": rng.integers(0, 256, (num_audio, audio), np.uint8),
    }
    labels = [index % MADE_CLASSES] if labels is None else labels
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
