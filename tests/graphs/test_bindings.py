"""Placeholders that nobody feeds become constants."""

import pytest
import tensorflow as tf

from yt8m_ensemble.errors import GraphError
from yt8m_ensemble.graphs.bindings import bind_placeholders

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def graph_with(dtype, *, default=None, shape=()):
    graph = tf.Graph()
    with graph.as_default():
        if default is None:
            p = v1.placeholder(dtype, shape, name="p")
        else:
            p = v1.placeholder_with_default(default, shape, name="p")
        tf.identity(p, name="out")
    return graph.as_graph_def()


def value_of(graph_def):
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    with v1.Session(graph=graph) as session:
        return session.run("out:0").tolist()


@pytest.mark.parametrize(
    ("made", "text", "value"),
    [
        (graph_with(tf.bool), "false", False),
        (graph_with(tf.bool, default=True), "False", False),
        (graph_with(tf.bool), "1", True),
        (graph_with(tf.float32), "0.5", 0.5),
        (graph_with(tf.int64), "7", 7),
        (graph_with(tf.float32, shape=(3,)), "1", [1.0, 1.0, 1.0]),
    ],
)
def test_a_value_takes_the_placeholders_place(made, text, value):
    bind_placeholders(made, {"p": text}, path="m")
    assert value_of(made) == value


@pytest.mark.parametrize(
    ("dtype", "text"),
    [(tf.bool, "maybe"), (tf.int32, "0.5"), (tf.float32, "x"), (tf.int32, "9" * 30)],
)
def test_a_value_of_another_kind_is_refused(dtype, text):
    with pytest.raises(GraphError, match=f"'{text}' is no {dtype.name}, which the placeholder 'p'"):
        bind_placeholders(graph_with(dtype), {"p": text}, path="m")


def test_a_placeholder_of_a_huge_shape_is_refused():
    with pytest.raises(GraphError, match="is no float32"):
        bind_placeholders(graph_with(tf.float32, shape=(10**6, 10**6)), {"p": "1"}, path="m")


def test_a_name_that_is_no_placeholders_is_told():
    with pytest.raises(GraphError, match=r"no placeholder 'q' that could be bound. It has 'p'"):
        bind_placeholders(graph_with(tf.bool), {"q": "1"}, path="m")
