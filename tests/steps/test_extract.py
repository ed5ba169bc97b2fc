import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.builders.models import FRAME, random_inputs, small_flags, write_train_dir
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import GraphError, OutputExistsError, UsageError
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.packaging import fresh_reader
from yt8m_ensemble.steps.extract import extract_members, plan_extract_members
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.values import FeatureSpec

pytestmark = [pytest.mark.tf, pytest.mark.slow]

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float16": {"fp16": "auto"},
    "uint8": {"quantize": "uint8"},
    "uint5": {"quantize": "uint5"},
    "uint4": {"quantize": "uint4"},
    "uint4-groups": {"quantize": "uint4-groups"},
    "original": {"naming": "original", "fp16": "auto"},
    "logit": {"mix": "logit"},
}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """One merged model a way of merging; every member has weights that are stored narrow."""
    folder = tmp_path_factory.mktemp("merged")
    members = []
    for number, name in enumerate(("DbofModel", "LstmModel", "NetVLADModelLF")):
        wide = {"DbofModel": {"dbof_cluster_size": 160}, "LstmModel": {"lstm_cells": 24},
                "NetVLADModelLF": {"netvlad_hidden_size": 64}}[name]  # fmt: skip
        directory = write_train_dir(folder / name, small_flags(name, **wide), seed=number)
        members.append(f"m{number}={directory}")
    for kind, options in KINDS.items():
        merge_models(members=members, out=str(folder / kind), **options)
    return folder


def inside(path):
    """Return what the members score inside an ensemble."""
    x, counts = random_inputs(small_flags("DbofModel"))
    with open_model(str(path)) as model, GraphRunner(model.graph, model.source) as runner:
        batch = runner.pool_frames(x, counts)
        return x, counts, dict(zip(model.members, runner.members_of(batch), strict=True))


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_members_score_bit_for_bit_as_inside(merged, tmp_path, kind, decode):
    x, counts, scores = inside(merged / kind)
    done = extract_members(str(merged / kind), decode=decode, out=str(tmp_path / "o"))
    assert [member.name for member in done.members] == list(scores) == ["m0", "m1", "m2"]
    for name, expected in scores.items():
        with open_model(str(tmp_path / "o" / name)) as model:
            assert model.features.names == FRAME.names
            with GraphRunner(model.graph, model.source) as runner:
                np.testing.assert_array_equal(runner.mixed(runner.pool_frames(x, counts)), expected)
            dtypes = {spec.dtype for spec in model.source.specs().values()}
            narrow = {"float16": "float16", "original": "float16", "uint8": "uint8",
                      "uint5": "uint8", "uint4": "uint8"}.get(kind)  # fmt: skip
            wanted = {"float32", narrow} if narrow else {"float32"}
            wanted |= {"uint8", "float16"} if kind == "uint4-groups" else set()
            assert dtypes == ({"float32"} if decode else wanted)


def test_a_member_is_what_went_in(merged, tmp_path):
    """Names, shapes and values are those of the checkpoint before the merge."""
    for kind in ("plain", "original", "float16"):
        extract_members(str(merged / kind), decode=True, out=str(tmp_path / kind))
        for number, name in enumerate(("DbofModel", "LstmModel", "NetVLADModelLF")):
            folder = tmp_path / kind / f"m{number}"
            assert json.loads((folder / "model_flags.json").read_text())["model"] == name
            with (
                open_checkpoint(str(folder / "inference_model")) as found,
                open_checkpoint(str(merged / name / "model.ckpt-1")) as wanted,
            ):
                assert set(found.specs()) == set(wanted.specs()) - {"global_step"}
                for tensor in found.specs():
                    tolerance = 0 if kind == "plain" else 2e-3
                    one, other = found.read(tensor), wanted.read(tensor)
                    np.testing.assert_allclose(one, other, atol=tolerance)


def test_what_comes_out_can_be_merged_again(merged, tmp_path):
    extract_members(str(merged / "uint8"), out=str(tmp_path / "o"))
    again = [f"{name}={tmp_path / 'o' / name}" for name in ("m0", "m1", "m2")]
    merge_models(members=again, out=str(tmp_path / "again"))
    x, counts, _ = inside(merged / "uint8")
    with open_model(str(merged / "uint8")) as one, open_model(str(tmp_path / "again")) as other:
        np.testing.assert_allclose(other.predict(x, counts), one.predict(x, counts), atol=1e-7)


def test_the_originals_ensemble_comes_apart(fixtures, tmp_path):
    path = str(fixtures / "tiny/ens/ensemble_T.tgz")
    done = extract_members(path, with_fixed_frames=True, out=str(tmp_path / "o"))
    assert [(m.name, m.num_tensors) for m in done.members] == [
        ("model0", 32), ("model1", 32), ("model2", 32)]  # fmt: skip
    features = FeatureSpec(("rgb", "audio"), (1024, 128), frame_level=True)
    paths = sorted(map(str, fixtures.glob("data_const/frame/test*.tfrecord")))
    (batch,) = read_batches(paths, features=features, num_classes=40, batch_size=100)
    scores = []
    for member in done.members:
        with open_model(member.directory) as model:
            assert not model.depends_on_chance
            scores.append(model.predict(batch.features, batch.num_frames))
    with open_model(path) as model:
        whole = model.predict(batch.features, batch.num_frames)
    stack = np.stack([score.ravel() for score in scores], axis=1)
    weights, *_ = np.linalg.lstsq(stack, whole.ravel(), rcond=None)
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(stack @ weights, whole.ravel(), atol=1e-5)
    with open_checkpoint(f"{tmp_path}/o/model1/inference_model") as opened:
        assert opened.specs()["tower/gates/weights"].dtype == "float16"


def test_another_weighted_sum_comes_apart(tmp_path):
    def build(x):
        parts = []
        for number in range(3):
            w = tf.compat.v1.get_variable(
                f"w{number}", (8, 4), dtype=tf.float32, use_resource=False
            )
            parts.append(tf.sigmoid(x @ w))
        return tf.reduce_mean(tf.stack([*parts[:2], parts[2] * 0.5 / 0.25]), axis=0)

    export(tmp_path / "e", build)
    done = plan_extract_members(str(tmp_path / "e"), out=str(tmp_path / "o"))
    assert [member.num_tensors for member in done.members] == [1, 1, 1]


def shared_trunk(x):
    w = tf.compat.v1.get_variable("w", (8, 4), use_resource=False)
    return 0.5 * tf.sigmoid(x @ w) + 0.5 * tf.tanh(x @ w)


def single(x):
    w = tf.compat.v1.get_variable("w", (8, 4), use_resource=False)
    b = tf.compat.v1.get_variable("b", (4,), use_resource=False)
    return tf.add(x @ w, tf.identity(b))


@pytest.mark.parametrize("build", [shared_trunk, single])
def test_what_is_no_ensemble_is_refused(tmp_path, build):
    export(tmp_path / "e", build)
    with pytest.raises(GraphError, match="is no ensemble"):
        extract_members(str(tmp_path / "e"), out=str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def export(directory, build):
    v1 = tf.compat.v1
    directory.mkdir()
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x, n = v1.placeholder(tf.float32, (None, 8)), v1.placeholder(tf.int32, (None,))
        y = build(x)
        session.run(v1.global_variables_initializer())
        for name, tensor in (("input_batch_raw", x), ("num_frames", n), ("predictions", y)):
            v1.add_to_collection(name, tensor)
        v1.train.Saver().save(session, str(directory / "inference_model"), write_state=False)


def test_a_member_that_is_not_there_and_names_of_other_folders(merged, tmp_path):
    path = str(merged / "plain")
    with pytest.raises(UsageError, match=r"has no member 'm9'\. It has m0, m1, m2"):
        extract_members(path, members=["m9"], out=str(tmp_path / "o"))
    extract_members(path, members=["m1"], out=str(tmp_path / "o"))
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["m1"]
    with pytest.raises(OutputExistsError):
        extract_members(path, out=str(tmp_path / "o"))


def test_a_member_may_not_name_another_folder(merged, tmp_path):
    import shutil

    shutil.copytree(merged / "plain", tmp_path / "e")
    meta = tf.compat.v1.MetaGraphDef()
    file = tmp_path / "e/inference_model.meta"
    meta.ParseFromString(file.read_bytes())
    values = meta.collection_def["member_predictions"].bytes_list.value
    values[0] = b"../m0=" + values[0].partition(b"=")[2]
    file.write_bytes(meta.SerializeToString())
    with pytest.raises(GraphError, match=r"The member '\.\./m0'"):
        extract_members(str(tmp_path / "e"), out=str(tmp_path / "o"))


def test_the_command_shows_what_it_would_do(merged, tmp_path):
    arguments = ["extract", str(merged / "plain"), "--out", str(tmp_path / "o")]
    run = CliRunner().invoke(cli, [*arguments, "--dry-run", "--json"])
    assert run.exit_code == 0, run.output
    assert [m["name"] for m in json.loads(run.stdout)["members"]] == ["m0", "m1", "m2"]
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("mix", ["probability", "logit"])
def test_package_replaces_weights_that_are_constants(merged, tmp_path, mix):
    from yt8m_ensemble.values import MixtureWeights

    members = [f"m{i}={merged / n}" for i, n in enumerate(("DbofModel", "LstmModel"))]
    weights = MixtureWeights(("m1", "m0"), (0.9, 0.1), space=mix)
    merge_models(members=members, naming="original", mix=mix, out=str(tmp_path / "a"))
    merge_models(members=members, naming="original", weights=weights, out=str(tmp_path / "b"))
    package_model(model=str(tmp_path / "a"), weights=weights, out=str(tmp_path / "a.tgz"))
    x, counts, _ = inside(merged / "plain")
    with open_model(str(tmp_path / "a.tgz")) as one, open_model(str(tmp_path / "b")) as other:
        np.testing.assert_array_equal(one.predict(x, counts), other.predict(x, counts))
    with fresh_reader(str(tmp_path / "a.tgz")) as reader, open_model(str(tmp_path / "b")) as other:
        x = np.pad(x, ((0, 0), (0, 300 - x.shape[1]), (0, 0)))
        np.testing.assert_allclose(reader.predict(x, counts), other.predict(x, counts), atol=1e-6)
