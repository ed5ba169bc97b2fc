import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint
from yt8m_ensemble.errors import BundleError, MissingDependencyError
from yt8m_ensemble.graphs import CONTRACT, load_meta_graph
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.packaging import fresh_reader, write_bundle
from yt8m_ensemble.packaging.loading import CLIENT_PATH
from yt8m_ensemble.packaging.official_client import read_array, write_array

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def archive(model_dir, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("bundle") / "m.tgz")
    write_bundle(str(model_dir), path, max_size=10**9)
    return path


def endless(x, n):
    return tf.while_loop(lambda _: n[0] > 0, lambda y: y + 1, [x])[0]


def greedy(x, n):
    # A size that only the values of a run tell.
    return x + tf.reduce_sum(tf.fill(n, 1.0))


def write_archive(folder, build):
    """Write an archive of a model that predicts what `build` makes of its inputs."""
    model = folder / "model"
    model.mkdir()
    flags = {"feature_names": "mean_rgb", "feature_sizes": "8", "frame_features": False}
    (model / "model_flags.json").write_text(json.dumps(flags))
    write_checkpoint(str(model / "inference_model"), {"w": np.zeros(8, np.float32)})
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 8), "x")
        n = v1.placeholder(tf.int32, (None,), "n")
        with v1.variable_scope("", use_resource=False):
            w = v1.get_variable("w", (8,), initializer=v1.zeros_initializer())
        for name, tensor in zip(CONTRACT, (x, n, build(x + w, n)), strict=True):
            v1.add_to_collection(name, tensor)
        v1.train.export_meta_graph(
            str(model / "inference_model.meta"), saver_def=v1.train.Saver().as_saver_def()
        )
    write_bundle(str(model), str(folder / "m.tgz"), max_size=10**9)
    return str(folder / "m.tgz")


@pytest.mark.slow
def test_a_fresh_process_scores_as_this_one(model_dir, archive):
    prefix = str(model_dir / "inference_model")
    draw = np.random.default_rng(0)
    with (
        open_checkpoint(prefix) as source,
        GraphRunner(load_meta_graph(f"{prefix}.meta"), source) as runner,
        fresh_reader(archive) as reader,
    ):
        assert reader.model.predictions["shape"] == [None, 24]
        assert reader.model.python == sys.version.split()[0]
        for size in (1, 5):
            batch = draw.normal(size=(size, 8)).astype(np.float32)
            counts = np.ones(size, np.int32)
            expected = runner.predict(batch, counts)
            np.testing.assert_array_equal(reader.predict(batch, counts), expected)


@pytest.mark.slow
def test_a_batch_that_the_graph_refuses_is_our_error(archive):
    with fresh_reader(archive) as reader, pytest.raises(BundleError, match="fails on") as caught:
        reader.predict(np.zeros((2, 7), np.float32), np.ones(2, np.int32))
    assert "(2, 7)" in str(caught.value)
    assert caught.value.path == archive


@pytest.mark.slow
def test_an_archive_that_does_not_load_is_our_error(tmp_path, model_dir):
    for file in model_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "inference_model.meta").write_bytes(b"no meta graph")
    write_bundle(str(tmp_path), str(tmp_path / "m.tgz"), max_size=10**9)
    with (
        pytest.raises(BundleError, match="does not load as the official reader") as caught,
        fresh_reader(str(tmp_path / "m.tgz")),
    ):
        pass
    assert str(caught.value).endswith(f": {caught.value.cause}")
    assert "No such file" not in str(caught.value)


@pytest.mark.slow
def test_a_process_that_does_not_answer_in_time_is_stopped(archive, tmp_path):
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o755)
    with (
        pytest.raises(BundleError, match=r"does not load: it was stopped after 0.2 s") as caught,
        fresh_reader(archive, python=str(sleeper), timeout=0.2),
    ):
        pass
    assert "`--timeout`" in str(caught.value)


@pytest.mark.slow
def test_a_model_that_never_ends_is_stopped(tmp_path):
    with fresh_reader(write_archive(tmp_path, endless)) as reader:
        reader._timeout = 0.5  # loading may take its time
        with pytest.raises(BundleError, match=r"fails on a batch: it was stopped after 0\.5 s"):
            reader.predict(np.ones((1, 8), np.float32), np.ones(1, np.int32))


@pytest.mark.slow
def test_a_model_that_takes_too_much_memory_is_stopped(tmp_path):
    with (
        fresh_reader(write_archive(tmp_path, greedy), max_memory=2_000_000_000) as reader,
        pytest.raises(BundleError, match="OOM when allocating tensor"),
    ):
        reader.predict(np.ones((1, 8), np.float32), np.full(1, 700_000_000, np.int32))


def test_an_interpreter_that_is_not_there_is_told(archive):
    with (
        pytest.raises(MissingDependencyError, match="Cannot run '/no/python'") as caught,
        fresh_reader(archive, python="/no/python"),
    ):
        pass
    assert caught.value.python == "/no/python"


def test_an_interpreter_without_tensorflow_is_told(archive, tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'tensorflow'\" >&2\n")
    bare.chmod(0o755)
    with (
        pytest.raises(MissingDependencyError, match="cannot run TensorFlow") as caught,
        fresh_reader(archive, python=str(bare)),
    ):
        pass
    assert caught.value.cause == "ModuleNotFoundError: No module named 'tensorflow'"


def test_the_client_holds_none_of_our_code():
    # `-I` keeps this repository off the path; what it loads is plain TensorFlow's business.
    code = (
        f"import sys; sys.argv = ['x']; exec(open({CLIENT_PATH!r}).read().split('if __name__')[0])"
    )
    check = f"{code}; print([m for m in sys.modules if m.startswith('yt8m')])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", check], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(3, 2), (1,), (2, 3, 4)])
def test_arrays_survive_the_pipe(shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    stream = io.BytesIO()
    write_array(stream, array)
    write_array(stream, array[..., ::-1])
    stream.seek(0)
    np.testing.assert_array_equal(read_array(stream), array)
    np.testing.assert_array_equal(read_array(stream), array[..., ::-1])
    assert read_array(stream) is None


def test_a_pipe_that_ends_early_or_holds_something_else_is_refused():
    stream = io.BytesIO()
    write_array(stream, np.zeros(10))
    with pytest.raises(EOFError, match="middle of an array"):
        read_array(io.BytesIO(stream.getvalue()[:-1]))
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 3)).T[:, :2])  # Fortran order
    stream.seek(0)
    with pytest.raises(ValueError, match="C order"):
        read_array(stream)
