"""Small learnable records of both levels: each class pulls the features its own way."""

import numpy as np
import tensorflow as tf

from yt8m_ensemble.values import FeatureSpec

VIDEO = FeatureSpec(("mean_rgb", "mean_audio"), (6, 2), frame_level=False)
FRAME = FeatureSpec(("rgb", "audio"), (6, 2), frame_level=True)
NUM_CLASSES = 4


def write_records(directory, *, videos=64, shards=2, frame_level=False, seed=0, first=0):
    """Write `train<shard>.tfrecord` files and return their glob."""
    rng = np.random.default_rng(seed)
    pulls = np.random.default_rng(99).standard_normal((NUM_CLASSES, 8))
    directory.mkdir(parents=True, exist_ok=True)
    writers = [tf.io.TFRecordWriter(str(directory / f"train{i}.tfrecord")) for i in range(shards)]
    for number in range(videos):
        labels = np.flatnonzero(rng.random(NUM_CLASSES) < 0.4)
        labels = labels if len(labels) else np.array([number % NUM_CLASSES])
        mean = pulls[labels].sum(0) + 0.2 * rng.standard_normal(8)
        make = _frames if frame_level else _means
        record = make(f"v{first + number:04d}".encode(), labels, mean, rng)
        writers[number % shards].write(record.SerializeToString())
    for writer in writers:
        writer.close()
    return str(directory / "train*.tfrecord")


def _means(video_id, labels, mean, rng):
    del rng
    example = tf.train.Example()
    fields = example.features.feature
    fields["id"].bytes_list.value.append(video_id)
    fields["labels"].int64_list.value.extend(labels)
    fields["mean_rgb"].float_list.value.extend(mean[:6])
    fields["mean_audio"].float_list.value.extend(mean[6:])
    return example


def _frames(video_id, labels, mean, rng):
    example = tf.train.SequenceExample()
    example.context.feature["id"].bytes_list.value.append(video_id)
    example.context.feature["labels"].int64_list.value.extend(labels)
    for _ in range(int(rng.integers(2, 6))):
        frame = mean + 0.3 * rng.standard_normal(8)
        quantized = np.clip(frame * 255 / 8 + 128, 0, 255).astype(np.uint8).tobytes()
        for name, part in (("rgb", quantized[:6]), ("audio", quantized[6:])):
            feature = example.feature_lists.feature_list[name].feature.add()
            feature.bytes_list.value.append(part)
    return example


def train_options(features, settings):
    """Return the keywords of `train_model` for a feature spec and settings of both kinds."""
    from yt8m_ensemble.steps.train import split_settings

    training, model_options = split_settings(settings)
    return {
        "features": "frame" if features.frame_level else "video",
        "feature_names": ",".join(features.names),
        "feature_sizes": ",".join(map(str, features.sizes)),
        "model_options": model_options,
        **training,
    }
