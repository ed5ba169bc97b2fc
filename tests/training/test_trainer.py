"""The compiled step: it learns, it is repeatable, and it goes on where a checkpoint stopped."""

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import (
    CASES,
    IDS,
    NUM_CLASSES,
    predictor,
    random_inputs,
    small_flags,
)
from yt8m_ensemble.data import dequantize, quantize
from yt8m_ensemble.errors import CheckpointError
from yt8m_ensemble.models import REGISTRY
from yt8m_ensemble.options import TrainingOptions
from yt8m_ensemble.training import Trainer
from yt8m_ensemble.values import DictSource

pytestmark = pytest.mark.tf


def batch_of(flags, *, videos=8, seed=0):
    inputs, num_frames = random_inputs(flags, videos=videos, seed=seed)
    labels = np.random.default_rng(seed).random((videos, NUM_CLASSES)) < 0.4
    return inputs, num_frames, labels.astype(np.float32)


def trainer_of(flags, **options):
    return Trainer(flags, TrainingOptions(**{"learning_rate": 0.01, **options}))


def losses_of(trainer, batch, *, steps):
    tensors = [tf.constant(part) for part in batch]
    return [trainer.train_on(*tensors).loss for _ in range(steps)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "extra"), CASES, ids=IDS)
def test_training_and_inference_are_one_arithmetic(name, extra):
    flags = small_flags(name, **extra)
    trainer = trainer_of(flags)
    inputs, num_frames, labels = batch_of(flags)
    losses = losses_of(trainer, (inputs, num_frames, labels), steps=3)
    assert np.isfinite(losses).all()
    state = trainer.state()
    with predictor(flags, state) as predict:
        expected = predict(inputs, num_frames)
    np.testing.assert_allclose(trainer.scores(inputs, num_frames), expected, atol=2e-6)
    assert state["global_step"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, model in REGISTRY.items() if model.frame_level])
def test_bytes_train_as_their_values_do(name):
    flags = small_flags(name)
    inputs, num_frames, labels = batch_of(flags)
    frames = quantize(inputs)
    padding = np.arange(inputs.shape[1]) >= num_frames[:, None]
    frames[padding] = 0
    values = dequantize(frames)
    values[padding] = 0
    losses = [
        losses_of(trainer_of(flags), (features, num_frames, labels), steps=3)
        for features in (frames, values)
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_architecture_overfits_64_videos(name):
    extra = {"moe_l2": 0.0} if "moe_l2" in small_flags(name).options else {}
    extra |= {k: 0.0 for k in ("drop_rate", "mlp_dropout") if k in small_flags(name).options}
    wide = {k: 32 for k in small_flags(name).options if k.endswith(("hidden_size", "cells"))}
    flags = small_flags(name, **{**extra, **wide})
    batch = batch_of(flags, videos=64)
    trainer = trainer_of(flags, learning_rate=0.03, batch_norm_decay=0.9)
    losses = losses_of(trainer, batch, steps=150)
    scores = trainer.scores(*batch[:2])
    labels = batch[2] > 0
    # Models that are linear in the video's features cannot memorise noise; the others can.
    linear = name in {"LogisticModel", "MoeModel", "FrameLevelLogisticModel"}
    assert losses[-1] < losses[0] * (0.85 if linear else 0.05)
    assert scores[labels].mean() - scores[~labels].mean() > (0.08 if linear else 0.9)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "Adagrad", "RMSProp", "AdamW"])
@pytest.mark.parametrize("name", ["MoeModel", "NetVLADModelLF"])
def test_a_restored_trainer_goes_on_bit_for_bit(name, optimizer):
    flags = small_flags(name)
    batch = batch_of(flags)
    options = {"optimizer": optimizer, "ema_decay": 0.9}
    unbroken = trainer_of(flags, **options)
    losses_of(unbroken, batch, steps=3)
    saved = unbroken.state()
    later = losses_of(unbroken, batch, steps=3)
    resumed = trainer_of(flags, **options)
    resumed.restore(DictSource(saved), path="x")
    assert resumed.step == 3
    assert losses_of(resumed, batch, steps=3) == later
    for key, value in unbroken.state().items():
        np.testing.assert_array_equal(resumed.state()[key], value, err_msg=key)


@pytest.mark.slow
def test_seeds_decide_first_values_and_draws():
    flags = small_flags("NetVLADModelLF")
    batch = batch_of(flags)
    runs = [losses_of(trainer_of(flags, seed=seed), batch, steps=2) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_checkpoints_hold_the_originals_names():
    flags = small_flags("NetVLADModelLF", gating=True, moe_prob_gating=True)
    names = set(trainer_of(flags).state())
    # 32 weights, two slots for each of the 22 that are trained, two powers and the step.
    assert len(names) == 79
    assert {"tower/gates/weights/Adam_1", "beta2_power", "global_step"} <= names


def test_another_model_cannot_be_restored():
    trainer = trainer_of(small_flags("MoeModel"))
    state = trainer_of(small_flags("MoeModel", moe_num_mixtures=3)).state()
    with pytest.raises(CheckpointError, match="'tower/gates/weights' has shape") as caught:
        trainer.restore(DictSource(state), path="runs/a/model.ckpt-1")
    assert caught.value.expected == (8, 12)
    assert caught.value.found == (8, 16)
    del state["tower/gates/weights"]
    with pytest.raises(CheckpointError, match="'tower/gates/weights' is missing"):
        trainer.restore(DictSource(state), path="runs/a/model.ckpt-1")


def test_batch_norm_averages_follow_the_batches():
    flags = small_flags("DbofModel", dbof_add_batch_norm=True)
    trainer = trainer_of(flags, learning_rate=0.0, batch_norm_decay=0.5)
    batch = batch_of(flags, videos=64)
    losses_of(trainer, batch, steps=40)
    # With frozen weights the averages become the statistics of the batches.
    state = trainer.state()
    frames = [f / np.linalg.norm(f) for v, n in zip(*batch[:2], strict=True) for f in v[:n]]
    np.testing.assert_allclose(state["tower/input_bn/moving_mean"], np.mean(frames, 0), atol=0.15)
    assert abs(state["tower/input_bn/moving_variance"] - 1).min() > 0.5


def test_averaged_weights_lag_behind():
    flags = small_flags("LogisticModel")
    trainer = trainer_of(flags, ema_decay=0.5, learning_rate=0.1)
    batch = batch_of(flags)
    losses_of(trainer, batch, steps=1)
    name = "tower/fully_connected/biases"
    first = trainer.state()[name]
    # The decay of step 0 is min(0.5, 1 / 10), and biases start at 0.
    np.testing.assert_allclose(trainer.averaged_state()[name], 0.9 * first, rtol=1e-5)
    assert set(trainer.averaged_state()) == {
        name, "tower/fully_connected/weights", "global_step"
    }  # fmt: skip


def test_bfloat16_products_stay_close():
    flags = small_flags("MoeModel")
    batch = batch_of(flags)
    exact = losses_of(trainer_of(flags), batch, steps=5)
    short = losses_of(trainer_of(flags, precision="bfloat16"), batch, steps=5)
    np.testing.assert_allclose(short, exact, rtol=0.02)
    assert short != exact


def test_penalties_are_reported_and_felt():
    flags = small_flags("MoeModel", moe_l2=0.1)
    batch = [tf.constant(part) for part in batch_of(flags)]
    trainer = trainer_of(flags)
    weights = trainer.state()
    expected = sum(
        0.1 * (weights[f"tower/{name}/weights"] ** 2).sum() / 2 for name in ("gates", "experts")
    )
    assert trainer.train_on(*batch).penalty == pytest.approx(expected, rel=1e-5)


def test_targets_may_be_smoothed():
    flags = small_flags("LogisticModel")
    batch = batch_of(flags)
    plain = losses_of(trainer_of(flags), batch, steps=1)
    smooth = losses_of(trainer_of(flags, label_smoothing=0.5), batch, steps=1)
    assert plain != smooth
