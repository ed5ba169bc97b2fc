"""Graphs that do harm are refused by every command before a session exists, and touch nothing."""

import subprocess
from contextlib import suppress

import pytest
import tensorflow as tf

from tests.builders.records import write_video_records
from tests.faults.hostile_models import (
    HARM,
    HELPERS,
    LOADED,
    SCORED,
    WRITES,
    make_canary,
    snapshot,
    write_model,
)
from yt8m_ensemble.errors import BundleError, GraphError
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.packaging import write_bundle
from yt8m_ensemble.steps.inspect_graph import inspect_graph
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.verify import verify_bundle

pytestmark = [pytest.mark.tf, pytest.mark.slow]

v1 = tf.compat.v1


@pytest.fixture
def canary(tmp_path):
    """A folder that must stay as it is."""
    return make_canary(tmp_path / "canary")


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fail the test if a session or another process is started."""

    def refuse(*_args, **_options):
        pytest.fail("something was started")

    monkeypatch.setattr(v1.Session, "__init__", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize("place", SCORED)
@pytest.mark.parametrize("harm", WRITES)
def test_unchecked_they_do_harm(tmp_path, canary, harm, place):
    model = write_model(tmp_path / "m", harm=lambda: HARM[harm](canary), place=place)
    before = snapshot(canary)
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(str(model / "inference_model.meta"))
        saver.restore(session, str(model / "inference_model"))
        with suppress(tf.errors.OpError):  # the second round of a loop finds nothing to move
            session.run("y:0", {"x:0": [[0.0] * 8]})
    assert snapshot(canary) != before


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("place", [*SCORED, *LOADED])
@pytest.mark.parametrize("harm", HARM)
def test_none_is_run_by_verify(tmp_path, canary, harm, place):
    model = write_model(tmp_path / "m", harm=lambda: HARM[harm](canary), place=place)
    before = snapshot(canary)
    archive = str(tmp_path / "m.tgz")
    write_bundle(str(model), archive, max_size=10**9)
    if place == "queue runner":
        # The archive fails; its model could be run, because nobody starts the runners.
        with pytest.raises(GraphError, match="reached from a queue runner"):
            check_with_runners(model)
    else:
        with pytest.raises(BundleError, match="It was not run") as caught:
            verify_bundle(path=archive)
        assert "runs only allowed operations" in caught.value.failed  # type: ignore[operator]
        with pytest.raises(GraphError, match="is refused") as refused:
            package_model(model=str(model), out=str(tmp_path / "n.tgz"))
        assert refused.value.operation in {harm, *HELPERS}
    assert snapshot(canary) == before


def check_with_runners(model):
    from yt8m_ensemble.graphs import check_graph, read_meta_graph, reader_roots

    meta = read_meta_graph(str(model / "inference_model.meta"))
    check_graph(meta, roots=reader_roots(meta, path="m"), path="m")


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("place", SCORED)
@pytest.mark.parametrize("harm", HARM)
def test_none_is_opened(tmp_path, canary, harm, place):
    model = write_model(tmp_path / "m", harm=lambda: HARM[harm](canary), place=place)
    before = snapshot(canary)
    with pytest.raises(GraphError, match=f"'{model}.*' is refused: ") as caught:
        open_model(str(model)).__enter__()
    assert caught.value.operation in {harm, *HELPERS}
    assert f"--allow-operation {caught.value.operation}`" in str(caught.value)
    assert snapshot(canary) == before


@pytest.mark.parametrize("place", LOADED)
@pytest.mark.parametrize("harm", HARM)
def test_what_only_loading_runs_is_left_alone(tmp_path, canary, harm, place):
    model = write_model(tmp_path / "m", harm=lambda: HARM[harm](canary), place=place)
    before = snapshot(canary)
    data = str(write_records(tmp_path))
    predict_scores(models=[str(model)], data=data, csv=str(tmp_path / "p.csv"))
    assert snapshot(canary) == before
    sound = write_model(tmp_path / "sound")
    predict_scores(models=[str(sound)], data=data, csv=str(tmp_path / "s.csv"))
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


def write_records(folder):
    path = folder / "v.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(3):
            example = tf.train.Example()
            example.features.feature["id"].bytes_list.value.append(f"v{number}".encode())
            example.features.feature["mean_rgb"].float_list.value.extend([0.1 * number] * 8)
            writer.write(example.SerializeToString())
    return path


@pytest.mark.usefixtures("nothing_runs")
def test_every_command_refuses_by_name(tmp_path, canary):
    model = write_model(tmp_path / "m", harm=lambda: HARM["WriteFile"](canary), place="loop")
    data = str(write_video_records(tmp_path / "v.tfrecord"))
    out = str(tmp_path / "out")
    for command in (
        lambda: predict_scores(models=[str(model)], data=data, csv=out),
        lambda: merge_models(members=[str(model)], out=out),
        lambda: inspect_graph(str(model)),
        lambda: package_model(model=str(model), out=out),
    ):
        with pytest.raises(GraphError, match="WriteFile '"):
            command()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "m", "v.tfrecord"]


@pytest.mark.usefixtures("nothing_runs")
def test_a_file_is_read_by_an_import_alone_and_not_by_ours(tmp_path):
    """TensorFlow evaluates what shapes depend on while it imports a graph, without a session."""
    secret = tmp_path / "secret"
    secret.write_bytes((24).to_bytes(4, "little"))
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 8), "x")
        n = v1.placeholder(tf.float32, (None,), "n")
        width = tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)
        y = tf.reshape(x, tf.concat([[-1], width], 0), name="y")
        for name, tensor in (("input_batch_raw", x), ("num_frames", n), ("predictions", y)):
            v1.add_to_collection(name, tensor)
        v1.train.export_meta_graph(str(tmp_path / "m.meta"))
    with tf.Graph().as_default() as imported:
        v1.train.import_meta_graph(str(tmp_path / "m.meta"))
        assert imported.get_tensor_by_name("y:0").shape[1] == 24
    from yt8m_ensemble.graphs import load_meta_graph

    with pytest.raises(GraphError, match="ReadFile '"):
        load_meta_graph(str(tmp_path / "m.meta"))


def test_what_an_import_reads_is_refused_though_nothing_reaches_it(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes((24).to_bytes(4, "little"))
    model = write_model(tmp_path / "m")
    path = model / "inference_model.meta"
    meta = v1.MetaGraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        shape = tf.io.decode_raw(tf.io.read_file(str(secret)), tf.int32)
        tf.reshape(v1.placeholder(tf.float32), shape, name="told")
    meta.graph_def.node.extend(graph.as_graph_def().node)
    path.write_bytes(meta.SerializeToString())
    with tf.Graph().as_default() as imported:
        v1.train.import_meta_graph(str(path))
        assert imported.get_tensor_by_name("told:0").shape == [24]
    with pytest.raises(GraphError, match="and an import alone may evaluate it"):
        package_model(model=str(model), out=str(tmp_path / "n.tgz"))
    with open_model(str(model)) as opened:  # what nothing reaches is cut off before the import
        assert opened.graph.unreached == ("ReadFile 'ReadFile'",)


def test_an_operation_that_the_user_allows_runs(tmp_path, canary):
    model = write_model(tmp_path / "m", harm=lambda: HARM["PrintV2"](canary), place="predictions")
    with open_model(str(model), allow_operations=["PrintV2"]) as opened:
        assert any(node.op == "PrintV2" for node in opened.graph.graph_def.node)


def test_a_result_whose_size_a_run_computes_is_named_if_memory_has_no_room(tmp_path, monkeypatch):
    def pad(x, harm):
        rows = tf.cast(tf.exp(0.0 * tf.reduce_sum(x)) * 2.0**45, tf.int64)
        return x + harm() * tf.reduce_max(tf.pad(x, [[0, rows], [0, 0]], name="padded"))

    monkeypatch.setitem(SCORED, "pad", pad)
    model = write_model(tmp_path / "m", harm=lambda: 0.0, place="pad")
    write_records(tmp_path)
    with pytest.raises(GraphError, match=r"^'padded' makes a result of shape \(35184372088\d+,8\)"):
        predict_scores(
            models=[str(model)], data=f"{tmp_path}/*.tfrecord", csv=str(tmp_path / "out.csv")
        )
    assert not (tmp_path / "out.csv").exists()
