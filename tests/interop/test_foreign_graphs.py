"""Models of anyone's code, written by TensorFlow 2.21, merged and run in TensorFlow 1.x."""

import functools
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.errors import BundleError, GraphError
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.packaging import fresh_reader
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.values import MixtureWeights

pytestmark = [pytest.mark.tf, pytest.mark.slow]

v1 = tf.compat.v1
INPUTS = np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32)
CLASSES = 24
ALIVE: list[object] = []  # TensorFlow takes a function out of its graph when Python collects it
FLAGS = {"feature_names": "mean_rgb,mean_audio", "feature_sizes": "6,2", "frame_features": False}
RUNTIMES = {"2.21": None, "1.15": "1.15.5", "1.14": "1.14.0", "1.8": "1.8.0"}


def weights(name, shape=(8, CLASSES)):
    return v1.get_variable(name, shape, initializer=v1.random_normal_initializer(seed=len(name)))


def reference_variables(x):
    with v1.variable_scope("", use_resource=False):
        return tf.matmul(x, tf.identity(weights("w")))


def resource_variables(x):
    return tf.nn.bias_add(x @ weights("w"), weights("b", (CLASSES,)))


def partitioned_variables(x):
    with v1.variable_scope("p", partitioner=v1.fixed_size_partitioner(3)):
        return x @ tf.convert_to_tensor(weights("w"))


def batch_norm(x):
    y = x @ weights("w")
    mean, variance = weights("moving_mean", (CLASSES,)), tf.square(weights("v", (CLASSES,)))
    return tf.nn.batch_normalization(y, mean, variance, None, weights("g", (CLASSES,)), 1e-3)


def recurrent_loop(x):
    w, out = weights("recurrent", (8, 8)), weights("out")

    def step(i, state):
        return i + 1, tf.tanh(state @ w + x)

    return tf.while_loop(lambda i, _: i < 4, step, (0, x))[1] @ out


def condition(x):
    w = weights("w")
    return tf.cond(tf.reduce_mean(w) > 0, lambda: x @ w, lambda: x @ w * 0.5)


def nested_functions(x):
    w = weights("w")

    @tf.function
    def inner(y):
        return y @ w

    @tf.function
    def outer(y):
        return inner(y) + inner(tf.reverse(y, [1]))

    ALIVE.extend([inner, outer])
    return outer(x)


def constants(x):
    draw = np.random.default_rng(3).normal(size=(8, CLASSES)).astype(np.float32)
    return x @ tf.constant(draw)


MEMBERS = (
    reference_variables,
    resource_variables,
    partitioned_variables,
    batch_norm,
    recurrent_loop,
    condition,
    nested_functions,
    constants,
)


def export(directory, build):
    """Write an inference model as TensorFlow itself does, queue and all; return its scores."""
    directory.mkdir()
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        queue = v1.FIFOQueue(9, (tf.float32, tf.float32), ((8,), ()), name="reader")
        x, n = queue.dequeue_many(5)
        y = tf.sigmoid(build(x))
        v1.train.get_or_create_global_step()  # so that a frozen model has a checkpoint, too
        session.run(v1.global_variables_initializer())
        for name, tensor in (("input_batch_raw", x), ("num_frames", n), ("predictions", y)):
            v1.add_to_collection(name, tensor)
        prefix = str(directory / "inference_model")
        v1.train.Saver().save(session, prefix, write_state=False)
        (directory / "model_flags.json").write_text(json.dumps(FLAGS))
        return session.run(y, {x: INPUTS, n: np.ones(5, np.float32)})


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    scores = {build.__name__: export(folder / build.__name__, build) for build in MEMBERS}
    return [f"{name}={folder / name}" for name in scores], scores


@pytest.fixture(scope="module")
def archive(members, tmp_path_factory):
    @functools.cache
    def make(**options):
        folder = tmp_path_factory.mktemp("archive")
        merge_models(members=members[0], out=str(folder / "m"), **options)
        package_model(model=str(folder / "m"), out=str(folder / "m.tgz"))
        return str(folder / "m.tgz")

    return make


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_kind_of_graph_runs_in_every_runtime(*, members, archive, tf1_python, runtime):
    version = RUNTIMES[runtime]
    expected = mix(list(members[1].values()), MixtureWeights.uniform(list(members[1])))
    python = tf1_python(version) if version else sys.executable
    with fresh_reader(archive(), python=python) as reader:
        assert reader.model.tensorflow.startswith(runtime)
        found = reader.predict(INPUTS, np.ones(5, np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_archive_passes_every_check(archive):
    assert all(check.is_ok for check in verify_bundle(path=archive()).checks)


def test_what_tensorflow_1_does_not_know_is_named_with_its_member(tmp_path, members):
    export(tmp_path / "modern", lambda x: tf.einsum("bf,fc->bc", x, weights("w")))
    both, out = [f"modern={tmp_path / 'modern'}", members[0][0]], str(tmp_path / "m")
    named = r"Einsum 'modern/.*Einsum' \(modern\)"
    with pytest.raises(GraphError, match=named):
        merge_models(members=both, out=out)
    merge_models(members=both, out=out, target="any")
    package_model(model=out, out=str(tmp_path / "m.tgz"))
    with pytest.raises(BundleError, match=named):
        verify_bundle(path=str(tmp_path / "m.tgz"))
