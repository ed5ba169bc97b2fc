"""Training goes on where the original code stopped, and the original's graph takes it back."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.steps.train import train_model

pytestmark = pytest.mark.tf

OPTIONS = {
    "netvlad_cluster_size": 2,
    "netvlad_hidden_size": 8,
    "netvlad_relu": False,
    "gating": True,
    "moe_prob_gating": True,
    "moe_l2": 1e-6,
    "iterations": 10,
}


@pytest.mark.slow
def test_a_run_of_the_10th_place_goes_on(fixtures, tmp_path):
    source = fixtures / "tiny" / "c2h8"
    for path in source.glob("model.ckpt-210.*"):
        shutil.copy(path, tmp_path)
    shutil.copy(source / "model_flags.json", tmp_path)
    made = train_model(
        model="NetVLADModelLF",
        train_data=str(fixtures / "data_const" / "frame" / "validate*"),
        train_dir=str(tmp_path),
        features="frame",
        num_classes=40,
        model_options=OPTIONS,
        batch_size=20,
        max_steps=213,
        num_epochs=0,
    )
    assert made.global_step == 213
    with (
        open_checkpoint(str(source / "model.ckpt-210")) as before,
        open_checkpoint(made.prefix) as after,
    ):
        assert set(after.specs()) == set(before.specs())
        moved = {name: np.array(after.read(name)) for name in after.specs()}
        name = "tower/gates/weights"
        assert 0 < np.abs(moved[name] - before.read(name)).max() < 0.1
        assert moved["beta1_power"] == pytest.approx(before.read("beta1_power") * 0.9**3, rel=1e-5)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(
            str(source / "model.ckpt-210.meta"), clear_devices=True
        )
        saver.restore(session, made.prefix)
        for variable in tf.compat.v1.global_variables():
            np.testing.assert_array_equal(session.run(variable), moved[variable.op.name])
