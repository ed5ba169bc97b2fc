"""Batches hold exactly what the records hold, in order or in a seeded order."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.records import (
    FRAMES,
    MADE_CLASSES,
    MEANS,
    example,
    make_frames,
    make_means,
    sequence_example,
    write_shards,
)
from tests.data.oracle import read_slowly
from yt8m_ensemble.data import (
    BatchReader,
    fetch_ahead,
    read_batches,
    training_dataset,
    write_records,
)
from yt8m_ensemble.models.frames import dequantize_frames
from yt8m_ensemble.values import FeatureSpec

pytestmark = pytest.mark.tf

LEVELS = [
    pytest.param(MEANS, make_means, id="video"),
    pytest.param(FRAMES, make_frames, id="frame"),
]


def read(paths, features, *, num_classes=MADE_CLASSES, batch_size=4):
    return list(
        read_batches(paths, features=features, num_classes=num_classes, batch_size=batch_size)
    )


def assert_equals_oracle(batches, paths, features, num_classes):
    rows = read_slowly(
        paths, features.names, frame_level=features.frame_level, max_frames=features.max_frames
    )
    labels = np.zeros((len(rows), num_classes), bool)
    for row, (_, classes, *_) in enumerate(rows):
        labels[row, classes] = True
    assert np.concatenate([b.video_ids for b in batches]).tolist() == [r[0] for r in rows]
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), labels)
    np.testing.assert_array_equal(
        np.concatenate([b.features for b in batches]), np.stack([r[2] for r in rows])
    )
    assert np.concatenate([b.num_frames for b in batches]).tolist() == [r[3] for r in rows]
    assert np.concatenate([b.shards for b in batches]).tolist() == [r[4] for r in rows]


@pytest.mark.parametrize(("features", "make"), LEVELS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_are_the_records_in_order(tmp_path, features, make, batch_size):
    paths = write_shards(tmp_path, make)
    batches = read(paths, features, batch_size=batch_size)
    assert [len(b.video_ids) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert_equals_oracle(batches, paths, features, MADE_CLASSES)


def test_the_order_of_the_paths_is_kept(tmp_path):
    paths = write_shards(tmp_path, make_means)[::-1]
    assert_equals_oracle(read(paths, MEANS), paths, MEANS, MADE_CLASSES)


def test_shapes_and_dtypes(tmp_path):
    for features, make, shape in [(MEANS, make_means, (4, 6)), (FRAMES, make_frames, (4, 6, 6))]:
        batch = read(write_shards(tmp_path, make), features)[0]
        assert batch.features.shape == shape
        assert batch.features.dtype == np.float32
        assert batch.video_ids.dtype.kind == "S"
        assert batch.num_frames.dtype == batch.shards.dtype == np.int32
        assert batch.labels.shape == (4, MADE_CLASSES)
        assert batch.labels.dtype == np.bool_


def test_dequantised_by_hand_and_padded_with_zero_after_it(tmp_path):
    frames = [[bytes([0, 255])], [bytes([127, 128])]]
    write_records(
        str(tmp_path / "r"), [sequence_example({"id": [b"a"], "labels": [1]}, rgb=frames)]
    )
    features = FeatureSpec(("rgb",), (2,), frame_level=True, max_frames=3)
    (batch,) = read([str(tmp_path / "r")], features)
    # q * 4/255 + 4/512 - 2: 0 → -1.9921875, 255 → 2.0078125, 127 → -0.000031, 128 → 0.015656
    expected = np.array([[-1.9921875, 2.0078125], [-0.0000306, 0.0156556], [0, 0]])
    np.testing.assert_allclose(batch.features[0], expected, atol=1e-6)
    assert batch.num_frames.tolist() == [2]


def test_frames_past_the_limit_are_cut_and_not_counted(tmp_path):
    write_records(str(tmp_path / "r"), [make_frames(0, num_frames=9), make_frames(1, num_frames=2)])
    (batch,) = read([str(tmp_path / "r")], FRAMES)
    assert batch.num_frames.tolist() == [FRAMES.max_frames, 2]
    assert_equals_oracle([batch], [str(tmp_path / "r")], FRAMES, MADE_CLASSES)


@pytest.mark.parametrize("key", ["id", "video_id"])
def test_both_id_keys_at_both_levels(tmp_path, key):
    write_records(str(tmp_path / "v"), [example(**{key: [b"abc"]}, mean_rgb=[0.5])])
    write_records(str(tmp_path / "f"), [sequence_example({key: [b"abc"]}, rgb=[[b"x"]])])
    video = FeatureSpec(("mean_rgb",), (1,), frame_level=False)
    frame = FeatureSpec(("rgb",), (1,), frame_level=True)
    for path, features in [("v", video), ("f", frame)]:
        (batch,) = read([str(tmp_path / path)], features)
        assert batch.video_ids.tolist() == [b"abc"]


@pytest.mark.parametrize("labels", [{}, {"labels": []}], ids=["absent", "empty"])
def test_records_without_labels_have_none(tmp_path, labels):
    write_records(str(tmp_path / "v"), [example(id=[b"a"], mean_rgb=[0.5], **labels)])
    features = FeatureSpec(("mean_rgb",), (1,), frame_level=False)
    (batch,) = read([str(tmp_path / "v")], features)
    assert not batch.labels.any()


def test_a_label_given_twice_counts_once(tmp_path):
    write_records(str(tmp_path / "v"), [make_means(0, labels=[3, 3, 1])])
    (batch,) = read([str(tmp_path / "v")], MEANS)
    assert np.flatnonzero(batch.labels[0]).tolist() == [1, 3]


def test_features_come_in_the_order_asked_for(tmp_path):
    write_records(str(tmp_path / "v"), [example(id=[b"a"], x=[1.0], y=[2.0, 3.0], z=[4.0])])
    features = FeatureSpec(("z", "y"), (1, 2), frame_level=False)
    assert read([str(tmp_path / "v")], features)[0].features.tolist() == [[4, 2, 3]]


def test_empty_files_give_no_batch(tmp_path):
    assert read(write_shards(tmp_path, make_means, counts=(0, 0)), MEANS) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "names", "frame_level"),
    [("video", "mean_rgb,mean_audio", False), ("frame", "rgb,audio", True)],
)
def test_records_of_the_originals(fixtures, folder, names, frame_level):
    paths = sorted(map(str, (fixtures / "data_const" / folder).glob("*.tfrecord")))
    features = FeatureSpec.parse(names, "1024,128", frame_level=frame_level)
    batches = read(paths, features, num_classes=40, batch_size=64)
    assert_equals_oracle(batches, paths, features, 40)


def take(dataset, count=None):
    batches = itertools.islice(dataset.as_numpy_iterator(), count)
    return [video_id for batch in batches for video_id in batch["video_ids"].tolist()]


def train_on(paths, features=MEANS, **options):
    defaults: dict[str, Any] = {
        "num_classes": MADE_CLASSES,
        "batch_size": 4,
        "num_epochs": 1,
        "seed": 3,
    }
    return training_dataset(paths, features=features, **{**defaults, **options})


@pytest.mark.parametrize(("features", "make"), LEVELS)
def test_training_sees_every_video_once_an_epoch(tmp_path, features, make):
    paths = write_shards(tmp_path, make)
    ids = take(train_on(paths, features, num_epochs=2))
    everything = sorted(
        r[0] for r in read_slowly(paths, features.names, frame_level=features.frame_level)
    )
    assert sorted(ids) == sorted(everything * 2)
    assert sorted(ids[:15]) == everything
    assert ids[:15] != ids[15:]


def test_training_batches_hold_the_videos_values(tmp_path):
    paths = write_shards(tmp_path, make_frames)
    (ordered,) = read(paths, FRAMES, batch_size=100)
    rows = {video_id: row for row, video_id in enumerate(ordered.video_ids.tolist())}
    for batch in train_on(paths, FRAMES).as_numpy_iterator():
        order = [rows[video_id] for video_id in batch["video_ids"].tolist()]
        assert batch["features"].dtype == np.uint8
        features = dequantize_frames(tf.constant(batch["features"]), batch["num_frames"])
        np.testing.assert_array_equal(features, ordered.features[order])
        np.testing.assert_array_equal(batch["num_frames"], ordered.num_frames[order])
        np.testing.assert_array_equal(batch["labels"], ordered.labels[order])
        assert batch["labels"].dtype == np.float32


def test_the_seed_alone_decides_the_order(tmp_path):
    paths = write_shards(tmp_path, make_means)
    assert take(train_on(paths, num_epochs=3)) == take(train_on(paths, num_epochs=3))
    assert take(train_on(paths, seed=3)) != take(train_on(paths, seed=4))


def test_skipping_goes_on_where_a_run_stopped(tmp_path):
    paths = write_shards(tmp_path, make_means)
    whole = take(train_on(paths, num_epochs=3))
    assert take(train_on(paths, num_epochs=3, skip_batches=5)) == whole[20:]


def test_training_takes_a_single_file(tmp_path):
    path = write_shards(tmp_path, make_means)[0]
    rows = read_slowly([path], MEANS.names, frame_level=False)
    assert sorted(take(train_on([path]))) == sorted(row[0] for row in rows)


def test_training_repeats_for_ever_over_the_end_of_an_epoch(tmp_path):
    paths = write_shards(tmp_path, make_means)
    assert len(take(train_on(paths, num_epochs=None), count=9)) == 36


def test_no_pipeline_waits_for_a_tuner_at_its_end(tmp_path):
    paths = write_shards(tmp_path, make_means)
    scoring = BatchReader(paths, features=MEANS, num_classes=MADE_CLASSES, batch_size=4)
    for dataset in (train_on(paths, num_epochs=1), scoring._dataset):
        assert dataset.options().autotune.enabled is False


def test_elements_fetched_ahead_come_in_order_and_errors_in_their_place():
    dataset = tf.data.Dataset.range(6).map(
        lambda n: {"n": tf.debugging.check_numerics(1 / (4 - tf.cast(n, tf.float32)), "n is 4")}
    )
    fetched = fetch_ahead(dataset)
    seen = [float(next(fetched)["n"]) for _ in range(4)]
    assert seen == [1 / 4, np.float32(1 / 3), 1 / 2, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="n is 4"):
        next(fetched)
    assert len(list(fetch_ahead(dataset.take(3)))) == 3
