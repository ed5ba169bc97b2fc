import contextlib
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.models import VIDEO, small_flags, write_train_dir
from tests.builders.records import write_video_records
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import (
    BundleError,
    BundleTooLargeError,
    MixtureWeightsError,
    OutputExistsError,
)
from yt8m_ensemble.inference import GraphRunner
from yt8m_ensemble.loading.model import open_model
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.packaging import extract_bundle, list_bundle
from yt8m_ensemble.steps.merge import merge_models
from yt8m_ensemble.steps.package import package_model, plan_package_model
from yt8m_ensemble.steps.predict import predict_scores
from yt8m_ensemble.steps.tune_weights import tune_weights
from yt8m_ensemble.steps.verify import verify_bundle
from yt8m_ensemble.storage import open_predictions
from yt8m_ensemble.values import MixtureWeights

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    for seed, (name, model) in enumerate({"a": "LogisticModel", "b": "MoeModel"}.items()):
        write_train_dir(folder / name, small_flags(model), seed=seed)
    return [f"{name}={folder / name}" for name in "ab"]


@pytest.fixture(scope="module")
def model(members, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "m"
    merge_models(members=members, out=str(out), weights=(0.25, 0.75), mix="logit")
    return str(out)


def tensors(path, directory):
    extract_bundle(path, str(directory))
    with open_checkpoint(str(directory / "inference_model")) as source:
        return {name: source.read(name).copy() for name in source.specs()}


def test_the_archive_holds_the_model_as_it_is(tmp_path, model):
    result = package_model(model=model, out=str(tmp_path / "x.tgz"))
    assert result.bundle == list_bundle(str(tmp_path / "x.tgz"))
    assert result.nbytes == result.bundle.nbytes
    assert result.weights is None
    assert result.member_bytes == {"a": 8 * 4 * 4 + 16, "b": 8 * 12 * 4 + 8 * 8 * 4 + 8 * 4}
    facts = json.loads((tmp_path / "x.tgz.provenance.json").read_text())
    assert facts["command"] == "package"
    assert list(facts["inputs"]) == [model]
    assert facts["files"] == {m.name: m.sha256 for m in result.bundle.members}


def test_packing_twice_gives_the_same_bytes(tmp_path, model):
    for name in ("x.tgz", "y.tgz"):
        package_model(model=model, out=str(tmp_path / name))
    assert (tmp_path / "x.tgz").read_bytes() == (tmp_path / "y.tgz").read_bytes()


def test_weights_replace_the_models_own_and_nothing_else(tmp_path, model):
    package_model(model=model, out=str(tmp_path / "old.tgz"))
    weights = MixtureWeights(("b", "a"), (0.9, 0.1), "logit")
    (tmp_path / "w.json").write_text(weights.to_json())
    out = str(tmp_path / "new.tgz")
    result = package_model(model=model, weights=str(tmp_path / "w.json"), out=out)
    assert result.weights == MixtureWeights(("a", "b"), (0.1, 0.9), "logit")
    old, new = tensors(str(tmp_path / "old.tgz"), tmp_path / "o"), tensors(out, tmp_path / "n")
    np.testing.assert_array_equal(new["mixture_weights"], np.array([0.1, 0.9], np.float32))
    assert old.keys() == new.keys()
    for name in old.keys() - {"mixture_weights"}:
        np.testing.assert_array_equal(old[name], new[name])
    for name in ("inference_model.meta", "model_flags.json"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "n" / name).read_bytes()


def test_weights_give_what_merging_with_them_gives(tmp_path, model, members):
    weights = MixtureWeights(("a", "b"), (0.6, 0.4), "logit")
    merge_models(members=members, out=str(tmp_path / "m"), weights=weights)
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "merged.tgz"))
    package_model(model=model, weights=weights, out=str(tmp_path / "packed.tgz"))
    merged, packed = tmp_path / "merged.tgz", tmp_path / "packed.tgz"
    found = [tensors(str(path), tmp_path / path.stem) for path in (merged, packed)]
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def test_weights_of_other_members_are_refused(tmp_path, model):
    weights = MixtureWeights(("a", "c"), (0.5, 0.5), "logit")
    with pytest.raises(MixtureWeightsError, match=r"weighs a, c, but the members of .* are a, b"):
        package_model(model=model, weights=weights, out=str(tmp_path / "x.tgz"))
    assert not list(tmp_path.iterdir())


def test_weights_of_another_space_ask_for_another_merge(tmp_path, model):
    weights = MixtureWeights(("a", "b"), (0.5, 0.5), "geometric")
    with pytest.raises(
        MixtureWeightsError, match="Merge again with `yt8m-ens merge --mix geometric`"
    ) as caught:
        package_model(model=model, weights=weights, out=str(tmp_path / "x.tgz"))
    assert (caught.value.mixture, caught.value.model) == ("geometric", "logit")
    assert not list(tmp_path.iterdir())


def test_weights_of_another_shape_cannot_replace_constants(tmp_path, members):
    merge_models(members=members, out=str(tmp_path / "m"), naming="original")
    rows = ((0.5,) * 4, (0.5,) * 4)
    weights = MixtureWeights(("a", "b"), (0.5, 0.5), class_values=rows)
    with pytest.raises(BundleError, match=r"holds its mixture weights in an array of shape \(2,\)"):
        package_model(model=str(tmp_path / "m"), weights=weights, out=str(tmp_path / "x.tgz"))
    result = package_model(model=str(tmp_path / "m"), out=str(tmp_path / "x.tgz"))
    assert result.member_bytes.keys() == {"a", "b"}
    assert min(result.member_bytes.values()) > 0


@pytest.mark.slow
def test_weights_by_class_are_merged_packed_and_verified(tmp_path):
    for seed, name in enumerate("ab"):
        write_train_dir(tmp_path / name, small_flags("LogisticModel", num_classes=24), seed=seed)
    members = [f"{name}={tmp_path / name}" for name in "ab"]
    shared = (0.25, 0.75)
    rows = np.random.default_rng(0).dirichlet([1, 3], 24).T
    by_class = MixtureWeights(("b", "a"), shared, "logit", class_values=tuple(map(tuple, rows)))
    (tmp_path / "w.json").write_text(by_class.to_json())
    assert MixtureWeights.parse((tmp_path / "w.json").read_text(), path="w.json") == by_class
    records = write_video_records(tmp_path / "r.tfrecord")
    merge_models(members=members, out=str(tmp_path / "m"), weights=str(tmp_path / "w.json"))
    predict_scores(models=members, data=str(records), cache=str(tmp_path / "members.h5"))
    with open_predictions(str(tmp_path / "members.h5")) as cache:
        mixed = mix([cache.scores("b"), cache.scores("a")], by_class)
    with open_model(str(tmp_path / "m")) as model, GraphRunner(model.graph, model.source) as runner:
        batch = next(
            read_batches([str(records)], features=model.features, num_classes=24, batch_size=10)
        )
        np.testing.assert_allclose(
            runner.predict(batch.features, batch.num_frames), mixed, rtol=0, atol=1e-6
        )
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "x.tgz"))
    verified = verify_bundle(
        path=str(tmp_path / "x.tgz"), data=str(records), against=str(tmp_path / "members.h5")
    )
    assert verified.runs[0].comparison is not None
    again = replace(by_class, class_values=by_class.class_values[::-1])
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "y.tgz"), weights=again)
    with pytest.raises(BundleError, match=r"of shape \(2, 24\), the new values are \(2,\)"):
        package_model(
            model=str(tmp_path / "m"),
            out=str(tmp_path / "z.tgz"),
            weights=MixtureWeights(("a", "b"), shared, "logit"),
        )


def test_weights_by_class_of_another_vocabulary_are_refused(tmp_path, members):
    weights = MixtureWeights(("a", "b"), (0.5, 0.5), class_values=((0.5,) * 3,) * 2)
    with pytest.raises(MixtureWeightsError, match="mixture is of 3 classes, the members predict 4"):
        merge_models(members=members, out=str(tmp_path / "m"), weights=weights)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (((0.5, 0.5),), "1 rows of .2. class weights for 2 members"),
        (((0.5,), (0.5, 0.5)), "rows of .1, 2. class weights"),
        (((0.5, 0.7), (0.5, 0.5)), "weights of class 1 are .0.7, 0.5."),
        (((0.5, -0.5), (0.5, 1.5)), "weights of class 1 are"),
    ],
)
def test_weights_by_class_that_are_no_mixture_are_refused(rows, message):
    with pytest.raises(MixtureWeightsError, match=message):
        MixtureWeights(("a", "b"), (0.5, 0.5), class_values=rows)


def test_a_model_that_is_too_large_is_refused_by_member(tmp_path, model):
    with pytest.raises(BundleTooLargeError, match="The largest member is 'b' with") as caught:
        package_model(model=model, out=str(tmp_path / "x.tgz"), max_size=1000)
    assert caught.value.details["limit_bytes"] == 1000
    assert caught.value.details["member_bytes"] == {"a": 144, "b": 672}
    assert not list(tmp_path.iterdir())


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"holds no model_flags\.json, inference_model\.meta"):
        package_model(model=str(tmp_path), out=str(tmp_path / "x.tgz"))


def test_a_dry_run_checks_and_writes_nothing(tmp_path, model):
    out = str(tmp_path / "x.tgz")
    assert plan_package_model(model=model, out=out).nbytes > 0
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.tgz").touch()
    with pytest.raises(OutputExistsError):
        plan_package_model(model=model, out=out)


def test_the_command_reads_sizes_and_prints_json(tmp_path, model):
    out = str(tmp_path / "x.tgz")
    run = CliRunner().invoke(
        cli, ["package", "--model", model, "--out", out, "--max-size", "1.5MB", "--json"]
    )
    assert run.exit_code == 0, run.output
    result = json.loads(run.stdout)
    assert result["bundle"]["readers"] == ["2018", "2019"]
    run = CliRunner().invoke(cli, ["package", "--model", model, "--out", out, "--max-size", "1QB"])
    assert run.exit_code == 2
    assert "'1QB' is no size" in run.output


def test_a_card_tells_what_the_archive_is_and_how_to_load_it(members, tmp_path):
    records = tmp_path / "v.tfrecord"
    write_video_records(records, videos=40)
    models = [member.split("=", 1)[1] for member in members]
    named = [f"{name}={path}" for name, path in zip("ab", models, strict=True)]
    predict_scores(models=named, data=str(records), cache=str(tmp_path / "p.h5"))
    weights = tune_weights(
        predictions=[str(tmp_path / "p.h5")], out=str(tmp_path / "w.json"), bootstrap=20
    )
    merge_models(
        members=named, out=str(tmp_path / "m"), weights=str(tmp_path / "w.json"), fp16="auto"
    )
    out = tmp_path / "x.tgz"
    package_model(model=str(tmp_path / "m"), out=str(out), card=True)
    card = (tmp_path / "x.tgz.card.md").read_text()
    (held_out,) = [j for j in weights.result.judgements if j.name == "held out"]
    assert f"| held out | {held_out.num_videos} | {held_out.gap:.5f} |" in card
    assert "float32: " in card
    provenance = json.loads((tmp_path / "x.tgz.provenance.json").read_text())
    assert [m["name"] for m in provenance["card"]["members"][:2]] == ["a", "b"]
    package_model(model=str(tmp_path / "m"), out=str(tmp_path / "y.tgz"))
    assert out.read_bytes() == (tmp_path / "y.tgz").read_bytes()
    with pytest.raises(OutputExistsError):
        package_model(model=str(tmp_path / "m"), out=str(out), card=True)
    package_model(model=str(tmp_path / "m"), out=str(out), force=True)
    assert not (tmp_path / "x.tgz.card.md").exists()
    package_model(model=str(tmp_path / "m"), out=str(out), force=True, card=True)
    # The card's own lines load and score it.
    extract_bundle(str(out), str(tmp_path / "model"))
    card = (tmp_path / "x.tgz.card.md").read_text()
    _, second = re.findall("```python\n(.*?)```", card, re.DOTALL)
    (serving,) = re.findall("```sh\n(.*?)\n```", card, re.DOTALL)
    (batch,) = read_batches([str(records)], features=VIDEO, num_classes=4, batch_size=40)
    found: dict[str, Any] = {"features": batch.features, "num_frames": batch.num_frames}
    with contextlib.chdir(tmp_path):
        exec(second, found)
        done = CliRunner().invoke(cli, serving.split()[1:])
    assert done.exit_code == 0, done.output
    assert found["scores"].shape == (40, 4)
    assert (tmp_path / "serving/1/saved_model.pb").exists()
