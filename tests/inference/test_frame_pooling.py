"""Frames are scored a few videos at a time, what they become all at once; scores stay the same."""

import numpy as np
import pytest
import tensorflow as tf

from tests.builders.models import FRAME, SMALL, VARIANTS, random_weights, small_flags
from yt8m_ensemble.graphs import from_tf_graph
from yt8m_ensemble.inference import GraphRunner, runner
from yt8m_ensemble.inference.frame_pooling import frame_vectors
from yt8m_ensemble.models import REGISTRY, build_graph
from yt8m_ensemble.values import DictSource

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
FRAME_LEVEL = [
    (name, options)
    for name, options in [*((name, {}) for name in SMALL), *VARIANTS]
    if REGISTRY[name].frame_level
]
FRAMES = np.random.default_rng(0).normal(size=(7, 4, 3)).astype(np.float32)
COUNTS = np.full(7, 4, np.int32)


def graph_of(build):
    """Return a graph over `(B, 4, 3)` frames."""
    with tf.Graph().as_default() as graph:
        frames = v1.placeholder(tf.float32, [None, 4, 3], "in")
        num_frames = v1.placeholder(tf.int32, [None], "frames")
        scores = build(frames)
    return from_tf_graph(
        graph, inputs=frames.name, num_frames=num_frames.name, predictions=scores.name
    )


def videos_in(tensor):
    return tf.cast(tf.shape(tensor)[0], tf.float32)


@pytest.fixture
def two_at_a_time(monkeypatch):
    """Let two videos of `FRAMES` be a piece."""
    monkeypatch.setattr(runner, "_PIECE_BYTES", 2 * 4 * FRAMES[0].size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), FRAME_LEVEL)
def test_every_architecture_splits_and_scores_as_in_one_run(monkeypatch, name, options):
    flags = small_flags(name, **options)
    graph, weights = build_graph(flags), random_weights(flags)
    draw = np.random.default_rng(1)
    frames = draw.normal(size=(7, FRAME.max_frames, FRAME.total_size)).astype(np.float32)
    counts = draw.integers(1, FRAME.max_frames + 1, 7).astype(np.int32)
    frames[np.arange(FRAME.max_frames) >= counts[:, None]] = 0
    with GraphRunner(graph, DictSource(weights)) as model:
        whole = model.predict(frames, counts)
        monkeypatch.setattr(runner, "_PIECE_BYTES", 2 * 4 * frames[0].size)
        pieces = model.predict(frames, counts)
        vectors = frame_vectors(graph)
        expected, found = model._session.run(
            (graph.predictions, [*vectors]),
            {graph.inputs: frames, graph.num_frames: counts},
        )
    assert vectors
    assert [values.shape for values in found] == [(7, width) for width in vectors.values()]
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(pieces, expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("two_at_a_time")
def test_frames_run_in_small_pieces_and_vectors_together():
    def build(frames):
        means = tf.reduce_mean(frames + videos_in(frames), 1, keepdims=True)
        vectors = tf.reshape(tf.pad(means, [[0, 0], [0, 0], [0, 2]]), [-1, 5], "vectors")
        return tf.concat(
            [vectors[:, :3], tf.fill([tf.shape(vectors)[0], 1], videos_in(vectors))], 1
        )

    graph = graph_of(build)
    assert frame_vectors(graph) == {"vectors:0": 5}
    with GraphRunner(graph, DictSource({})) as model:
        scores = model.predict(FRAMES, COUNTS)
        assert model.pools_frames
    np.testing.assert_array_equal(scores[:, 3], 7)
    pieces = np.array([2, 2, 2, 2, 2, 2, 1])[:, None]
    np.testing.assert_allclose(scores[:, :3], FRAMES.mean(1) + pieces, rtol=1e-6)


def test_a_vector_that_only_leads_to_another_is_left_out():
    def build(frames):
        weights = tf.nn.softmax(tf.reduce_sum(frames, 2), name="weights")
        pooled = tf.einsum("btf,bt->bf", frames, weights)
        return tf.sigmoid(pooled)

    graph = graph_of(build)
    (vector,) = frame_vectors(graph)
    assert "einsum" in vector
    attention = np.exp(FRAMES.sum(2))
    attention /= attention.sum(1, keepdims=True)
    pooled = np.einsum("btf,bt->bf", FRAMES, attention)
    with GraphRunner(graph, DictSource({})) as model:
        np.testing.assert_allclose(
            model.predict(FRAMES, COUNTS), 1 / (1 + np.exp(-pooled)), atol=1e-6
        )


@pytest.mark.usefixtures("two_at_a_time")
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda frames: tf.reduce_max(frames, 1), id="the scores are the first vector"),
        pytest.param(
            lambda frames: tf.reshape(
                tf.sigmoid(tf.reduce_mean(frames, 1)), [tf.shape(frames)[0], 3]
            ),
            id="the frames' shape is needed to the end",
        ),
        pytest.param(
            lambda frames: tf.sigmoid(tf.reduce_mean(tf.reshape(frames, [2, 4, 3]), 1)),
            id="a batch of two is built in",
        ),
    ],
)
def test_a_graph_without_such_vectors_is_run_in_pieces_as_a_whole(build):
    graph = graph_of(build)
    assert frame_vectors(graph) == {}
    with GraphRunner(graph, DictSource({})) as model:
        assert not model.pools_frames
        scores = model.predict(FRAMES[:6], COUNTS[:6])
        session = model._session
        feeds = [{graph.inputs: FRAMES[at : at + 2]} for at in (0, 2, 4)]
        expected = np.concatenate([session.run(graph.predictions, feed) for feed in feeds])
    np.testing.assert_array_equal(scores, expected)


@pytest.fixture
def old_control_flow():
    v1.disable_control_flow_v2()
    yield
    v1.enable_control_flow_v2()


@pytest.mark.usefixtures("old_control_flow")
def test_vectors_inside_a_loop_are_passed_over():
    def build(frames):
        state = tf.reduce_sum(frames[:, :0], 1)
        _, state = v1.while_loop(
            lambda t, _: t < 4,
            lambda t, state: (t + 1, tf.tanh(state + frames[:, t])),
            [0, state],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 3])],
        )
        return tf.sigmoid(state)

    graph = graph_of(build)
    assert {node.op for node in graph.graph_def.node} >= {"Enter", "Exit"}
    vectors = frame_vectors(graph)
    assert len(vectors) == 1
    assert "Exit" in next(iter(vectors))
    state = np.zeros((7, 3), np.float32)
    for step in range(4):
        state = np.tanh(state + FRAMES[:, step])
    with GraphRunner(graph, DictSource({})) as model:
        np.testing.assert_allclose(
            model.predict(FRAMES, COUNTS), 1 / (1 + np.exp(-state)), atol=1e-6
        )


@pytest.mark.usefixtures("old_control_flow")
def test_vectors_inside_a_branch_are_passed_over():
    def build(frames):
        means = v1.cond(
            tf.reduce_sum(frames) > 0,
            lambda: tf.tanh(tf.reduce_mean(frames, 1)),
            lambda: tf.tanh(tf.reduce_mean(-frames, 1)),
        )
        return tf.sigmoid(means)

    graph = graph_of(build)
    assert {node.op for node in graph.graph_def.node} >= {"Switch", "Merge"}
    assert frame_vectors(graph) == {"cond/Merge:0": 3}
    with GraphRunner(graph, DictSource({})) as model:
        for frames in (np.abs(FRAMES), -np.abs(FRAMES)):
            means = np.tanh(np.abs(frames).mean(1))
            np.testing.assert_allclose(
                model.predict(frames, COUNTS), 1 / (1 + np.exp(-means)), atol=1e-6
            )
