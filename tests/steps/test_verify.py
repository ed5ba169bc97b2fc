import json
import sys

import pytest
from click.testing import CliRunner

from tests.builders.models import small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import BundleError, UsageError
from yt8m_ensemble.graphs import read_meta_graph
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.packaging import Chance, extract_bundle, made_up_videos, probe, write_bundle
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.verify import TOLERANCES, verify_bundle
from yt8m_ensemble.values import MixtureWeights

# Each run starts a fresh interpreter that imports TensorFlow.
pytestmark = [pytest.mark.tf, pytest.mark.slow]

WEIGHTS = MixtureWeights(("a", "b"), (0.25, 0.75), "logit")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two models of 24 classes, records, an archive of their mix, and stored predictions."""
    folder = tmp_path_factory.mktemp("world")
    for seed, (name, model) in enumerate({"a": "LogisticModel", "b": "MoeModel"}.items()):
        write_train_dir(folder / name, small_flags(model, num_classes=24), seed=seed)
    members = [f"{name}={folder / name}" for name in "ab"]
    data = str(write_video_records(folder / "v.tfrecord"))
    merge_models(members=members, out=str(folder / "m"), weights=WEIGHTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yt8m_ensemble.casting.float16.MIN_NARROW_SIZE", 1)
        out = str(folder / "s")
        merge_models(members=members, out=out, weights=WEIGHTS, fp16="auto", naming="original")
    for name in "ms":
        package_model(model=str(folder / name), out=str(folder / f"{name}.tgz"))
    predict_scores(models=members, data=data, cache=str(folder / "p.h5"))
    predict_scores(models=[str(folder / "m.tgz")], data=data, csv=str(folder / "p.csv"))
    return folder


def records(world):
    return str(world / "v.tfrecord")


def compared(verification):
    """Return the comparison of the only run."""
    (run,) = verification.runs
    assert run.comparison is not None
    return run.comparison


@pytest.mark.parametrize(
    ("archive", "stored", "tolerance"),
    [
        ("m", "p.h5", TOLERANCES["float32"]),
        ("m", "p.csv", TOLERANCES["float32"]),
        ("s", "p.h5", TOLERANCES["float16"]),
    ],
)
def test_a_sound_archive_agrees_with_what_its_members_predicted(world, archive, stored, tolerance):
    found = verify_bundle(
        path=str(world / f"{archive}.tgz"), data=records(world), against=str(world / stored)
    )
    assert all(check.is_ok for check in found.checks)
    assert found.tolerance == tolerance
    assert compared(found).num_videos == 10
    assert compared(found).max_difference <= tolerance
    assert compared(found).gap == pytest.approx(compared(found).stored_gap, abs=1e-3)
    equivalence = compared(found).equivalence
    assert equivalence.difference == pytest.approx(
        compared(found).gap - compared(found).stored_gap, abs=1e-9
    )


def test_other_weights_are_told_by_video_and_class(world, tmp_path):
    other = MixtureWeights(("a", "b"), (0.9, 0.1), "logit")
    path = str(tmp_path / "x.tgz")
    package_model(model=str(world / "m"), weights=other, out=path)
    with pytest.raises(BundleError, match="fails 1 of") as caught:
        verify_bundle(path=path, data=records(world), against=str(world / "p.csv"))
    assert f"agrees with {world / 'p.csv'} in TensorFlow 2." in str(caught.value)
    assert "of video v0" in str(caught.value)
    # Against the members themselves it is the archive's own weights that mix them.
    verify_bundle(path=path, data=records(world), against=str(world / "p.h5"))


def test_without_records_the_structure_and_two_batches_are_checked(world):
    found = verify_bundle(path=str(world / "m.tgz"))
    names = [check.name for check in found.checks]
    assert len(names) == len(set(names))
    assert sum(name.startswith("scores a batch of") for name in names) == 2
    assert found.runs[0].comparison is None


def test_every_fault_is_told_at_once(world, tmp_path):
    directory = tmp_path / "m"
    extract_bundle(str(world / "m.tgz"), str(directory))
    meta = read_meta_graph(str(directory / "inference_model.meta"))
    meta.graph_def.node.add(name="a/far", op="Einsum", device="/gpu:0")
    (directory / "inference_model.meta").write_bytes(meta.SerializeToString())
    path = str(tmp_path / "x.tgz")
    write_bundle(str(directory), path, max_size=10**9)
    with pytest.raises(BundleError, match=r"Einsum 'a/far' \(a\)") as caught:
        verify_bundle(path=path)
    failed = caught.value.details["failed"]
    assert failed[:2] == ["no device strings", "operations of TensorFlow 1.14.0"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("op", "inputs", "user", "fault"),
    [
        ("WriteFile", ["save/Const", "save/Const"], "save/restore_all", "touches no files"),
        ("QueueDequeueV2", [], "predictions", "predictions need only what is fed"),
    ],
)
def test_a_graph_that_writes_or_waits_is_not_run(*, world, tmp_path, op, inputs, user, fault):
    directory = tmp_path / "m"
    extract_bundle(str(world / "m.tgz"), str(directory))
    meta = read_meta_graph(str(directory / "inference_model.meta"))
    meta.graph_def.node.add(name="evil", op=op, input=inputs)
    next(node for node in meta.graph_def.node if node.name == user).input.append("^evil")
    (directory / "inference_model.meta").write_bytes(meta.SerializeToString())
    path = str(tmp_path / "x.tgz")
    write_bundle(str(directory), path, max_size=10**9)
    with pytest.raises(BundleError, match=f"{fault}: {op} 'evil'") as caught:
        verify_bundle(path=path)
    assert not any("loads" in check.name for check in caught.value.details["checks"])  # type: ignore[attr-defined]


def test_an_operation_that_the_user_allows_is_run(world, tmp_path):
    directory = tmp_path / "m"
    extract_bundle(str(world / "m.tgz"), str(directory))
    meta = read_meta_graph(str(directory / "inference_model.meta"))
    node = meta.graph_def.node.add(name="now", op="Timestamp")
    next(n for n in meta.graph_def.node if n.name == "predictions").input.append(f"^{node.name}")
    (directory / "inference_model.meta").write_bytes(meta.SerializeToString())
    path = str(tmp_path / "x.tgz")
    write_bundle(str(directory), path, max_size=10**9)
    with pytest.raises(BundleError, match=r"Timestamp 'now' is reached from the predictions"):
        verify_bundle(path=path)
    assert len(verify_bundle(path=path, allow_operations=["Timestamp"]).runs) == 1


def test_an_original_ensemble_is_taken_by_the_reader_of_2018_and_told_to_draw(fixtures):
    path = str(fixtures / "tiny/ens/ensemble_T.tgz")
    found = verify_bundle(path=path, reader="2018")
    assert found.depends_on_chance
    assert "FIFOQueueV2 'eval_input/input_producer'" in found.unreached
    assert [check.name for check in found.untidy] == [
        "reader of 2019 finds the files",
        "no readers or queues",
        "no device strings",
    ]
    (draws,) = [check for check in found.checks if check.name.startswith("scores are the same")]
    assert "scores vary from run to run" in draws.detail
    assert "`yt8m-ens merge --fix-frames`" in draws.detail
    with pytest.raises(BundleError, match="fails 3 of") as caught:
        verify_bundle(path=path)
    assert "judge it for that reader alone with `--reader 2018`" in str(caught.value)
    assert caught.value.taken_by == ["2018"]
    with pytest.raises(BundleError, match=r"fails 1 of .* checks. reader of 2019 finds"):
        verify_bundle(path=path, reader="2019")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("batch_statistics", "scores are the same in any batch"),
        ("default_true", "scores are the same in any batch"),
        ("dropout", "scores are the same again"),
    ],
)
def test_scores_that_depend_on_more_than_the_video_fail_for_every_reader(
    shared, tmp_path, name, fault
):
    path = str(tmp_path / "m.tgz")
    write_bundle(str(shared / f"foreign/unsound_{name}"), path, max_size=10**9)
    with pytest.raises(BundleError, match="It loads and scores in") as caught:
        verify_bundle(path=path, reader="2018")
    assert [failed.partition(" in TensorFlow")[0] for failed in caught.value.failed] == [fault]  # type: ignore[attr-defined]


def test_a_model_bound_to_inference_is_sound(shared):
    model = shared / "foreign/unsound_default_true"
    with open_model(str(model), bindings={"is_training": "false"}) as opened:
        assert opened.graph.unfed_defaults == {}
        with GraphRunner(opened.graph, opened.source) as runner:
            batch, counts = made_up_videos(opened.features)
            checks = probe(runner, (batch, counts), where="X", chance=Chance())
    assert all(check.is_ok for check in checks)
    with open_model(str(model)) as opened:
        assert opened.graph.unfed_defaults == {"is_training": True}


def test_the_commands_bind_a_placeholder_and_judge_for_a_reader(shared, tmp_path):
    member = f"m={shared}/foreign/unsound_default_true"
    out, path = str(tmp_path / "m"), str(tmp_path / "m.tgz")
    for arguments in (
        ["merge", "--member", member, "--set", "is_training=false", "--out", out],
        ["package", "--model", out, "--out", path],
        ["verify", path],
    ):
        run = CliRunner().invoke(cli, arguments)
        assert run.exit_code == 0, run.output
    original = str(shared / "fixtures/tiny/ens/ensemble_T.tgz")
    run = CliRunner().invoke(cli, ["verify", original, "--reader", "2018"])
    assert run.exit_code == 0
    assert "is sound for the reader of 2018." in run.output
    assert run.output.count(" untidy ") == 3
    run = CliRunner().invoke(cli, ["verify", original])
    assert isinstance(run.exception, BundleError)
    assert run.stderr.count(" refused ") == 3
    assert " scores a batch of 6 in TensorFlow" in run.stderr


def test_a_merge_of_ours_that_draws_fails(fixtures, tmp_path):
    merge_models(
        members=[f"dbof={fixtures}/google2018/DbofModel/model.tgz"], out=str(tmp_path / "m")
    )
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "m.tgz"))
    with pytest.raises(BundleError, match=r"fails 1 of .* `yt8m-ens merge --fix-frames`"):
        verify_bundle(path=str(tmp_path / "m.tgz"))


def test_too_few_classes_for_the_reader_are_told(tmp_path):
    write_train_dir(tmp_path / "a", small_flags("LogisticModel"))
    merge_models(members=[f"a={tmp_path / 'a'}"], out=str(tmp_path / "m"))
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "m.tgz"))
    with pytest.raises(BundleError, match=r"20 classes or more in TensorFlow 2.*: 4"):
        verify_bundle(path=str(tmp_path / "m.tgz"))


def test_stored_predictions_need_their_records(world):
    with pytest.raises(UsageError, match="Give the records behind `--against` with `--data`"):
        verify_bundle(path=str(world / "m.tgz"), against=str(world / "p.csv"))


def test_a_second_interpreter_is_run_too(world):
    found = verify_bundle(path=str(world / "m.tgz"), data=records(world), tf1=sys.executable)
    assert len(found.runs) == 2
    assert found.runs[0].comparison == found.runs[1].comparison
    comparison = found.runs[0].comparison
    assert comparison is not None
    assert comparison.gap is not None
    assert comparison.stored_gap is None


def test_the_command_prints_a_table_or_json(world):
    arguments = ["verify", str(world / "m.tgz"), "--data", records(world)]
    run = CliRunner().invoke(cli, [*arguments, "--against", str(world / "p.h5")])
    assert run.exit_code == 0, run.output
    assert "is sound." in run.output
    assert "every variable is restored" in run.output
    run = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(run.stdout)["runs"][0]["comparison"]["num_videos"] == 10


def test_a_remote_archive_is_copied_to_be_read(world):
    import tensorflow as tf

    tf.io.gfile.copy(str(world / "m.tgz"), "ram://bundle.tgz", overwrite=True)
    found = verify_bundle(path="ram://bundle.tgz")
    assert found.path == found.bundle.path == "ram://bundle.tgz"
    assert len(found.runs) == 1
