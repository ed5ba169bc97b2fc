import os

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.errors import CheckpointNotFoundError, DataError, GraphError
from yt8m_ensemble.graphs import (
    CONTRACT,
    fix_frames,
    from_tf_graph,
    lift_constants,
    load_meta_graph,
    write_meta_graph,
)
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.values import DictSource

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
INPUTS = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
FRAMES = np.ones(5, np.int32)


def export(directory, build, *, use_resource=False):
    """Write a meta graph and checkpoint as TensorFlow itself does."""
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        queue = v1.FIFOQueue(9, (tf.float32, tf.int32), ((8,), ()), name="reader")
        x, n = queue.dequeue_many(5)
        with v1.variable_scope("", use_resource=use_resource):
            y = build(x, n)
        session.run(v1.global_variables_initializer())
        for name, tensor in (("input_batch_raw", x), ("num_frames", n), ("predictions", y)):
            v1.add_to_collection(name, tensor)
        saver = v1.train.Saver() if v1.global_variables() else None
        prefix = str(directory / "inference_model")
        if saver:
            saver.save(session, prefix, write_state=False)
        else:
            v1.train.export_meta_graph(f"{prefix}.meta", graph=graph)
        return session.run(y, {x: INPUTS, n: FRAMES})


def dense(x, _):
    w = v1.get_variable("w", (8, 4), initializer=v1.random_normal_initializer(seed=1))
    return tf.sigmoid(x @ tf.identity(w))


def partitioned(x, _):
    with v1.variable_scope("p", partitioner=v1.fixed_size_partitioner(3)):
        w = v1.get_variable("w", (8, 4), initializer=v1.random_normal_initializer(seed=1))
    return tf.sigmoid(x @ tf.convert_to_tensor(w))


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("build", [dense, partitioned])
def test_a_foreign_export_is_cut_and_scores_the_same(tmp_path, build, use_resource):
    from yt8m_ensemble.checkpoints import open_checkpoint

    expected = export(tmp_path, build, use_resource=use_resource)
    graph = load_meta_graph(str(tmp_path / "inference_model.meta"))
    assert not {node.op for node in graph.graph_def.node} & {"FIFOQueueV2", "VarHandleOp"}
    with GraphRunner(graph, open_checkpoint(str(tmp_path / "inference_model"))) as runner:
        np.testing.assert_array_equal(runner.predict(INPUTS, FRAMES), expected)


def test_what_is_written_is_read_again(tmp_path):
    export(tmp_path, dense)
    graph = load_meta_graph(str(tmp_path / "inference_model.meta"))
    write_meta_graph(graph, str(tmp_path / "again.meta"))
    again = load_meta_graph(str(tmp_path / "again.meta"))
    assert again.graph_def == graph.graph_def
    assert again.variables == graph.variables
    assert (again.inputs, again.predictions) == ("input_batch_raw:0", graph.predictions)


def test_weights_of_a_frozen_graph_become_variables(tmp_path):
    weights = np.random.default_rng(0).normal(size=(8, 200)).astype(np.float32)
    expected = export(tmp_path, lambda x, _: tf.sigmoid(x @ tf.constant(weights) + 0.5))
    graph, values = lift_constants(load_meta_graph(str(tmp_path / "inference_model.meta")))
    (name,) = values
    np.testing.assert_array_equal(values[name], weights)
    assert graph.variables[name].shape == (8, 200)
    with GraphRunner(graph, DictSource(values)) as runner:
        np.testing.assert_array_equal(runner.predict(INPUTS, FRAMES), expected)


def test_random_draws_become_evenly_spaced_frames(tmp_path):
    def draw(x, n):
        u = tf.random.uniform(tf.stack([tf.shape(x)[0], 4]))
        return tf.floor(u * tf.cast(n[:, None], tf.float32))

    export(tmp_path, draw)
    graph = fix_frames(load_meta_graph(str(tmp_path / "inference_model.meta")))
    with GraphRunner(graph, DictSource({})) as runner:
        found = runner.predict(INPUTS, np.array([4, 8, 10, 1, 300], np.int32))
    # (i + 0.5) / 4 * n for i = 0..3
    np.testing.assert_array_equal(
        found, [[0, 1, 2, 3], [1, 3, 5, 7], [1, 3, 6, 8], [0, 0, 0, 0], [37, 112, 187, 262]]
    )


def test_a_missing_collection_is_named(tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 8))
        v1.add_to_collection("input_batch_raw", x)
        v1.train.export_meta_graph(str(tmp_path / "m.meta"))
    with pytest.raises(GraphError, match="lacks the collections num_frames, predictions") as caught:
        load_meta_graph(str(tmp_path / "m.meta"))
    assert caught.value.missing == ["num_frames", "predictions"]
    assert "`yt8m-ens merge --num-frames --predictions`" in str(caught.value)


def test_tensors_may_be_named_where_collections_are_missing(tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 8), "x")
        n = v1.placeholder(tf.int64, (None,), "n")
        tf.sigmoid(x, name="scores")
        v1.train.export_meta_graph(str(tmp_path / "m.meta"))
    with pytest.raises(GraphError, match=r"predictions may be .*'scores:0'") as caught:
        load_meta_graph(str(tmp_path / "m.meta"))
    assert "'x:0', 'n:0'" in str(caught.value)
    names = {"input_batch_raw": "x", "num_frames": n.name, "predictions": "scores"}
    with GraphRunner(
        load_meta_graph(str(tmp_path / "m.meta"), tensors=names), DictSource({})
    ) as runner:
        scores = runner.predict(INPUTS, FRAMES)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-INPUTS)), atol=1e-6)


def test_a_python_function_is_refused(tmp_path):
    def python(x, _):
        return tf.ensure_shape(v1.py_func(lambda a: a, [x], tf.float32), (None, 8))

    export(tmp_path, python)
    with pytest.raises(GraphError, match="calls Python code of the process") as caught:
        load_meta_graph(str(tmp_path / "inference_model.meta"))
    assert caught.value.operation == "PyFunc"


def test_a_placeholder_that_nobody_feeds_is_told_and_can_be_bound(tmp_path):
    def switched(x, _):
        trains = v1.placeholder(tf.bool, (), "is_training")
        return tf.where(trains, x, x * 2)

    path = str(tmp_path / "inference_model.meta")
    graph = tf.Graph()
    with graph.as_default():
        x, n = v1.placeholder(tf.float32, (None, 8)), v1.placeholder(tf.int32, (None,))
        for name, tensor in zip(CONTRACT, (x, n, switched(x, n)), strict=True):
            v1.add_to_collection(name, tensor)
        v1.train.export_meta_graph(path)
    with pytest.raises(GraphError, match="on 'is_training', which nobody feeds") as caught:
        load_meta_graph(path)
    assert "predict --set is_training=false`" in str(caught.value)
    bound = load_meta_graph(path, bindings={"is_training": "false"})
    with GraphRunner(bound, DictSource({})) as runner:
        np.testing.assert_array_equal(runner.predict(INPUTS, FRAMES), INPUTS * 2)


def test_draws_that_choose_no_frames_are_not_replaced(tmp_path):
    def dropout(x, n):
        frames = tf.floor(tf.random.uniform((5, 1)) * tf.cast(n[:, None], tf.float32))
        return tf.floor(0.5 + tf.random.uniform((5, 8), name="mask")) * x + frames

    export(tmp_path, dropout)
    graph = load_meta_graph(str(tmp_path / "inference_model.meta"))
    assert len(graph.random_operations) == 2
    with pytest.raises(GraphError, match="'mask/RandomUniform' draws numbers that choose no frame"):
        fix_frames(graph)


@pytest.mark.parametrize("name", ["inspect-59", "open-110", "open-219", "open-228", "open-24"])
def test_a_damaged_graph_is_one_error_that_names_the_node(shared, name):
    path = str(shared / f"faulty/meta_{name}.meta")
    with pytest.raises(GraphError, match=r"is damaged|is refused") as caught:
        load_meta_graph(path)
    assert caught.value.path == path
    assert caught.value.node


def test_zeros_and_a_pipe_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "yt8m_ensemble.files.read_bytes", lambda path: pytest.fail(f"{path} was read")
    )
    with (tmp_path / "zeros.meta").open("wb") as file:
        file.truncate(1_900_000_000)
    with pytest.raises(GraphError, match=r"no meta graph .byte 0 begins no field"):
        load_meta_graph(str(tmp_path / "zeros.meta"))
    (tmp_path / "long.meta").write_bytes(b"\x12\xff\xff\xff\x01abc")
    with pytest.raises(GraphError, match="field at byte 0 ends behind the file"):
        load_meta_graph(str(tmp_path / "long.meta"))
    os.mkfifo(tmp_path / "pipe.meta")
    with pytest.raises(DataError, match="no regular file"):
        load_meta_graph(str(tmp_path / "pipe.meta"))


def test_files_that_are_no_meta_graph_are_named(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"no meta graph at '.*none.meta'"):
        load_meta_graph(str(tmp_path / "none.meta"))
    (tmp_path / "bad.meta").write_bytes(b"\xff\xff\xff")
    with pytest.raises(GraphError, match="is no meta graph"):
        load_meta_graph(str(tmp_path / "bad.meta"))


def test_a_node_that_is_called_like_an_input_steps_aside():
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 2), "x")
        n = v1.placeholder(tf.int32, (None,), "n")
        y = tf.identity(x + 1, name="num_frames")
    made = from_tf_graph(graph, inputs=x.name, num_frames=n.name, predictions=y.name)
    with GraphRunner(made, DictSource({})) as runner:
        scores = runner.predict(np.zeros((1, 2), np.float32), np.ones(1, np.int32))
    np.testing.assert_array_equal(scores, [[1, 1]])


def test_a_graph_that_no_protocol_buffer_holds_is_refused(tmp_path, monkeypatch):
    export(tmp_path, dense)
    path = str(tmp_path / "inference_model.meta")
    graph = load_meta_graph(path)
    monkeypatch.setattr("yt8m_ensemble.graphs.meta_files.MAX_GRAPH_BYTES", 100)
    with pytest.raises(GraphError, match="TensorFlow reads at most 100") as caught:
        load_meta_graph(path)
    assert caught.value.limit == 100
    with pytest.raises(GraphError, match="Keep its weights in a checkpoint"):
        write_meta_graph(graph, str(tmp_path / "again.meta"))
    assert not (tmp_path / "again.meta").exists()
