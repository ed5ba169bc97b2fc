"""Weights cast once give the scores of weights cast in every run, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import small_flags, write_train_dir
from yt8m_ensemble.graphs import from_tf_graph
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.inference.upcast import upcast_variables
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.values import DictSource

pytestmark = pytest.mark.tf

WEIGHTS: dict[str, np.ndarray] = {
    "cast": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float16),
    "used_as_stored": np.random.default_rng(1).normal(size=4).astype(np.float16),
    "already_wide": np.random.default_rng(2).normal(size=4).astype(np.float32),
}


def half_graph():
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        inputs = v1.placeholder(tf.float32, [None, 8], "in")
        num_frames = v1.placeholder(tf.int32, [None], "frames")
        made = {
            name: v1.get_variable(name, value.shape, value.dtype, use_resource=False)
            for name, value in WEIGHTS.items()
        }
        bias = tf.cast(made["used_as_stored"] * tf.constant(2, tf.float16), tf.float32)
        scores = tf.matmul(inputs, tf.cast(made["cast"], tf.float32)) + bias + made["already_wide"]
        scores = tf.sigmoid(scores)
    return from_tf_graph(
        graph, inputs=inputs.name, num_frames=num_frames.name, predictions=scores.name
    )


def test_only_what_is_cast_is_widened_and_scores_stay():
    graph = half_graph()
    wide = upcast_variables(graph)
    assert {name: spec.dtype for name, spec in wide.variables.items()} == {
        "cast": "float32",
        "used_as_stored": "float16",
        "already_wide": "float32",
    }
    assert graph.variables["cast"].dtype == "float16"
    inputs = np.random.default_rng(3).normal(size=(5, 8)).astype(np.float32)
    with GraphRunner(graph, DictSource(WEIGHTS)) as runner:
        scores = runner.predict(inputs, np.ones(5, np.int32))
    with tf.Graph().as_default() as plain, tf.compat.v1.Session() as session:
        tf.import_graph_def(graph.graph_def, name="")
        for name, value in WEIGHTS.items():
            session.run(tf.raw_ops.Assign(ref=plain.get_tensor_by_name(f"{name}:0"), value=value))
        expected = session.run(graph.predictions, {graph.inputs: inputs})
    np.testing.assert_array_equal(scores, expected)


def test_every_half_of_a_merged_model_is_widened(tmp_path):
    member = str(write_train_dir(tmp_path / "m", small_flags("MoeModel", num_classes=700)))
    merge_models(members=[member], fp16="auto", out=str(tmp_path / "half"))
    with open_model(str(tmp_path / "half")) as opened:
        stored = [spec.dtype for spec in opened.graph.variables.values()]
        wide = [spec.dtype for spec in upcast_variables(opened.graph).variables.values()]
    assert "float16" in stored
    assert set(wide) == {"float32"}
