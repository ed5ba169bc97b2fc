"""Differences of two graphs, found by structure and not by name."""

import pytest
import tensorflow as tf

from yt8m_ensemble.graphs.graph_diff import diff_graphs
from yt8m_ensemble.graphs.model_graph import from_tf_graph

pytestmark = pytest.mark.tf


def build(*, scope="", activation=tf.sigmoid, scale=None, layers=1, transpose=False, shapes=(4, 4)):
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.variable_scope(scope):
        batch = tf.compat.v1.placeholder(tf.float32, [None, 4], name="batch")
        frames = tf.compat.v1.placeholder(tf.int32, [None], name="frames")
        hidden = batch if scale is None else batch * scale
        for layer in range(layers):
            weights = tf.compat.v1.get_variable(f"w{layer}", shapes, use_resource=False)
            hidden = tf.matmul(hidden, weights, transpose_b=transpose)
        scores = activation(hidden)
    return from_tf_graph(graph, inputs=batch.name, num_frames=frames.name, predictions=scores.name)


def operations(found):
    return sorted(operation.op for operation in found)


def test_names_count_for_nothing():
    found, variables = diff_graphs(build(), build(scope="other/names"))
    assert (found.added, found.removed, found.changed) == ((), (), ())
    assert variables == {"w0": "other/names/w0"}


def test_an_inserted_operation_is_added_and_back_again_removed():
    plain, scaled = build(layers=3), build(layers=3, scale=2.0, scope="s")
    found, variables = diff_graphs(plain, scaled)
    assert operations(found.added) == ["Const", "Mul"]
    assert (found.removed, found.changed) == ((), ())
    assert variables == {f"w{layer}": f"s/w{layer}" for layer in range(3)}
    back, _ = diff_graphs(scaled, plain)
    assert operations(back.removed) == ["Const", "Mul"]
    assert (back.added, back.changed, back.same) == ((), (), found.same)


def test_a_value_and_an_attribute_are_changed_in_place():
    (value,) = diff_graphs(build(scale=2.0), build(scale=3.0))[0].changed
    assert (value.op, value.attributes) == ("Const", ("value",))
    (product,) = diff_graphs(build(), build(transpose=True))[0].changed
    assert (product.op, product.attributes) == ("MatMul", ("transpose_b",))


def test_what_lies_above_a_replaced_operation_is_the_same():
    found, variables = diff_graphs(build(layers=2), build(layers=2, activation=tf.nn.relu))
    assert operations(found.added) == ["Relu"]
    assert operations(found.removed) == ["Sigmoid"]
    assert found.changed == ()
    assert variables == {"w0": "w0", "w1": "w1"}


def test_a_layer_more_is_added_with_its_variable():
    found, _ = diff_graphs(build(layers=1), build(layers=2))
    assert operations(found.added) == ["Identity", "MatMul", "VariableV2"]
    assert (found.removed, found.changed) == ((), ())


def test_a_loop_is_compared_too():
    def looped(x):
        return tf.sigmoid(
            tf.compat.v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2.0), (0, x))[1]
        )

    tf.compat.v1.disable_control_flow_v2()
    try:
        first, second = build(activation=looped), build(activation=looped, scope="s")
    finally:
        tf.compat.v1.enable_control_flow_v2()
    found, _ = diff_graphs(first, second)
    assert (found.added, found.removed, found.changed) == ((), (), ())
