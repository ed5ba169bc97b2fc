"""Mixup, input dropout, schedules, first values from the records: each as its formula says."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import FRAME, POOLED_MLP, SMALL, VIDEO, small_flags, train_options
from tests.builders.records import write_learnable_records
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.options import TrainingOptions
from yt8m_ensemble.steps.train import train_model
from yt8m_ensemble.training import Trainer
from yt8m_ensemble.training.statistics import read_statistics
from yt8m_ensemble.training.tower import TrainingTower

pytestmark = pytest.mark.tf


def tower(step=0, **options):
    return TrainingTower({}, seed=tf.constant(3), step=tf.constant(step), **options)


def test_mixup_mixes_inputs_and_targets_by_one_share():
    inputs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    targets = np.eye(6, dtype=np.float32)
    mixing = tower(mixup=0.4)
    mixed, _ = mixing.augment(tf.constant(inputs), tf.ones(6, tf.int32))
    shares = mixing.mixed(tf.constant(targets)).numpy().diagonal()
    assert ((shares >= 0) & (shares <= 1)).all()
    expected = shares[:, None] * inputs + (1 - shares[:, None]) * inputs[::-1]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    # Another step draws other shares, the same step the same: a resumed run sees what it would.
    again, _ = tower(mixup=0.4).augment(tf.constant(inputs), tf.ones(6, tf.int32))
    np.testing.assert_array_equal(mixed, again)
    other, _ = tower(step=1, mixup=0.4).augment(tf.constant(inputs), tf.ones(6, tf.int32))
    assert np.abs(mixed - other).max() > 1e-3


def test_shares_are_of_the_beta_distribution():
    drawn = tower(mixup=0.4)
    drawn.augment(tf.zeros((20_000, 1)), tf.ones(20_000, tf.int32))
    one_hot = tf.concat([tf.ones((10_000, 1)), tf.zeros((10_000, 1))], 0)
    shares = drawn.mixed(one_hot).numpy()[:10_000, 0]
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * 1.8), rel=0.05)


def test_mixed_frames_have_the_frames_of_the_longer_video():
    frames = np.ones((2, 5, 3), np.float32)
    mixed, counts = tower(mixup=1.0).augment(tf.constant(frames), tf.constant([2, 4]))
    assert counts.numpy().tolist() == [4, 4]
    assert mixed.shape == (2, 5, 3)


def test_input_dropout_keeps_the_mean():
    dropped, _ = tower(input_dropout=0.25).augment(tf.ones((400, 50)), tf.ones(400, tf.int32))
    values = dropped.numpy()
    np.testing.assert_allclose(np.unique(values), [0, 4 / 3], atol=1e-6)
    assert values.mean() == pytest.approx(1, abs=0.02)
    plain, _ = tower().augment(tf.ones((4, 5)), tf.ones(4, tf.int32))
    np.testing.assert_array_equal(plain, np.ones((4, 5)))


def test_a_cosine_falls_to_zero_after_a_linear_warmup():
    options = TrainingOptions(learning_rate=2.0, schedule="cosine", warmup_steps=4)
    rates = [options.learning_rate_at(step, 100) for step in (0, 3, 50, 100, 120)]
    half = (1 + math.cos(math.pi * 3 / 100)) / 2
    assert rates == pytest.approx([0.5, 2 * half, 1.0, 0.0, 0.0])
    stairs = TrainingOptions(learning_rate=2.0, warmup_steps=2)
    assert [stairs.learning_rate_at(step) for step in (0, 1, 9)] == [1.0, 2.0, 2.0]


def test_epsilon_reaches_the_optimizer():
    flags = small_flags("LogisticModel")
    steps = []
    for epsilon in (1e-8, 1e3):
        options = TrainingOptions(adam_epsilon=epsilon, learning_rate=0.1)
        trainer = Trainer(flags, options)
        before = trainer.state()["tower/fully_connected/weights"]
        trainer.train_on(tf.ones((4, 8)), tf.ones(4, tf.int32), tf.ones((4, 4)))
        steps.append(np.abs(trainer.state()["tower/fully_connected/weights"] - before).max())
    assert steps[0] == pytest.approx(0.1, rel=0.01)
    assert steps[1] < 1e-4


@pytest.fixture(scope="module")
def globs(tmp_path_factory):
    return {
        level: write_learnable_records(tmp_path_factory.mktemp("r"), frame_level=level)
        for level in (False, True)
    }


def test_statistics_are_those_of_the_records(globs):
    paths = sorted(tf.io.gfile.glob(globs[False]))
    found = read_statistics(paths, features=VIDEO, num_classes=4)
    batches = list(read_batches(paths, features=VIDEO, num_classes=4, batch_size=7))
    labels = np.concatenate([batch.labels for batch in batches])
    rows = np.concatenate([batch.features for batch in batches]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert found.num_videos == len(labels)
    np.testing.assert_array_equal(found.class_counts, labels.sum(axis=0))
    np.testing.assert_allclose(found.input_mean, np.sqrt(8) * rows.mean(axis=0), atol=1e-6)
    assert ((found.frequencies > 0) & (found.frequencies < 1)).all()


@pytest.mark.parametrize(
    ("model", "features", "extra"),
    [("LogisticModel", VIDEO, {}), ("MoeModel", VIDEO, {}), ("MlpModel", VIDEO, {}),
     ("FrameLevelLogisticModel", FRAME, {}), ("DbofModel", FRAME, POOLED_MLP)],
)  # fmt: skip
def test_first_scores_are_about_the_class_frequencies(globs, model, features, extra):
    flags = small_flags(model, **extra)
    trainer = Trainer(flags, TrainingOptions())
    found = read_statistics(
        sorted(tf.io.gfile.glob(globs[features.frame_level])), features=features, num_classes=4
    )
    from yt8m_ensemble.models import model_of_flags

    biases = model_of_flags(flags).prior_biases(found.frequencies)
    trainer.assign({f"tower/{name}": value for name, value in biases.items()})
    shape = (1, 8) if features is VIDEO else (1, 3, 8)
    scores = trainer.scores(np.full(shape, 1e-9, np.float32), np.array([3], np.int32))
    # Inputs of next to nothing leave the biases alone.
    np.testing.assert_allclose(scores[0], found.frequencies, atol=0.08)
    assert biases


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "features", "extra"),
    [("MlpModel", VIDEO, {"mlp_hidden_size": 6}), ("DbofModel", FRAME, POOLED_MLP)],
    ids=["MlpModel", "DbofModel-MlpModel"],
)
def test_all_of_it_resumes_exactly(tmp_path, globs, model, features, extra):
    settings = {
        **SMALL[model], **extra,
        "batch_size": 16, "schedule": "cosine", "warmup_steps": 3, "mixup": 0.4,
        "input_dropout": 0.1, "prior_bias": True, "save_steps": 3, "ema_decay": 0.9,
        "num_epochs": 2,
    }  # fmt: skip
    arguments = {
        "model": model, "train_data": globs[features.frame_level], "num_classes": 4,
        **train_options(features, settings),
    }  # fmt: skip
    whole = train_model(**arguments, train_dir=str(tmp_path / "whole"))
    # Stopped: the checkpoints after step 3 are gone, as if the run had been cut there.
    train_model(**arguments, train_dir=str(tmp_path / "cut"))
    for path in (tmp_path / "cut").glob("*ckpt-*"):
        if "ckpt-3." not in path.name:
            path.unlink()
    resumed = train_model(**arguments, train_dir=str(tmp_path / "cut"))
    assert resumed.global_step == whole.global_step
    assert (whole.global_step or 0) > 3
    with open_checkpoint(whole.prefix) as one, open_checkpoint(resumed.prefix) as other:
        assert set(one.specs()) == set(other.specs())
        for name in one.specs():
            np.testing.assert_array_equal(one.read(name), other.read(name), err_msg=name)
        assert any(name.endswith("/ExponentialMovingAverage") for name in one.specs())
        assert ("tower/input_mean" in one.specs()) == (model == "MlpModel")
        if model == "MlpModel":
            assert np.abs(one.read("tower/input_mean")).max() > 0
