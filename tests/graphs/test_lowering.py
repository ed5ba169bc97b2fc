"""What TensorFlow 2 writes runs the same after lowering, without functions or resources."""

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.lowering import lower

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def variable(name, value):
    return v1.get_variable(
        name, initializer=tf.constant(value, tf.float32), use_resource=True, dtype=tf.float32
    )


def loop_with_a_variable(x):
    w = variable("w", [[0.5, 0.1], [-0.2, 0.3]])
    _, y = tf.while_loop(
        lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, w)) + 0.1), (0, x)
    )
    return y


def loop_in_a_loop(x):
    w = variable("w", [0.9, 1.1])

    def outer(i, y):
        _, z = tf.while_loop(lambda j, _: j < 2, lambda j, z: (j + 1, z * w), (0, y))
        return i + 1, z + tf.cast(i, tf.float32)

    return tf.while_loop(lambda i, _: i < 3, outer, (0, x))[1]


def condition_with_a_variable(x):
    w = variable("w", [2.0, 3.0])
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x * w, lambda: tf.fill(tf.shape(x), 7.0))


def condition_in_a_loop(x):
    def body(i, y):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: y + 1.0, lambda: y * 2.0)

    return tf.while_loop(lambda i, _: i < 4, body, (0, x))[1]


def function_in_a_function(x):
    w = variable("w", [4.0, 5.0])

    @tf.function
    def inner(y):
        return tf.split(y * w, 2, axis=1)

    @tf.function
    def outer(y):
        left, right = inner(y)
        return tf.concat([right, left], axis=1) + 1.0

    return outer(x)


def gathered_rows(x):
    table = variable("table", [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    return x + tf.gather(table, [2, 0])


GRAPHS = [
    loop_with_a_variable,
    loop_in_a_loop,
    condition_with_a_variable,
    condition_in_a_loop,
    function_in_a_function,
    gathered_rows,
]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_a_lowered_graph_computes_the_same(make, sign):
    value = sign * np.array([[0.3, 0.7], [1.5, 0.2]], np.float32)
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (2, 2), "x")
        y = tf.identity(make(x), name="y")
        session.run(v1.global_variables_initializer())
        expected = session.run(y, {x: value})
        weights = {v.op.name: session.run(v) for v in v1.global_variables()}
    before = graph.as_graph_def()
    assert any("While" in n.op or n.op in {"If", "VarHandleOp"} or "Call" in n.op
               for n in before.node)  # fmt: skip
    flat, moved = lower(before)
    ops = {node.op for node in flat.node}
    assert not ops & {"While", "StatelessWhile", "If", "StatelessIf", "VarHandleOp",
                      "ReadVariableOp", "PartitionedCall", "StatefulPartitionedCall"}  # fmt: skip
    again = tf.Graph()
    with again.as_default(), v1.Session(graph=again) as session:
        keep = [n for n in flat.node if n.op not in {"AssignVariableOp", "VarIsInitializedOp"}]
        flat.node.__delitem__(slice(None))
        flat.node.extend(n for n in keep if "Initializer" not in n.name and n.name != "init")
        tf.import_graph_def(flat, name="")
        for name, stored in weights.items():
            session.run(tf.raw_ops.Assign(ref=again.get_tensor_by_name(f"{name}:0"), value=stored))
        found = session.run(moved.get("y:0", "y:0"), {"x:0": value})
    np.testing.assert_array_equal(found, expected)


def test_a_function_that_is_missing_is_named():
    graph = tf.Graph()
    with graph.as_default():
        tf.function(lambda x: x + 1)(v1.placeholder(tf.float32, (), "x"))
    graph_def = graph.as_graph_def()
    del graph_def.library.function[:]
    with pytest.raises(GraphError, match="which the graph does not hold"):
        lower(graph_def)
