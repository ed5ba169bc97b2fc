"""`eval --predictions`: cached scores against the labels beside them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import MixtureWeightsError, PredictionsError
from yt8m_ensemble.metrics import evaluate
from yt8m_ensemble.mixing import mix
from yt8m_ensemble.steps.eval_predictions import evaluate_predictions
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()
WEIGHTS = MixtureWeights.normalized("ca", [0.3, 0.7], space="logit")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(WEIGHTS.to_json())
    return str(path)


def write(path, *, top_k=None, members="abc"):
    with PredictionsWriter(
        str(path), members=members, digests="abc", num_classes=60, top_k=top_k
    ) as writer:
        writer.append(np.array([b"v%03d" % n for n in range(200)]), SCORES, LABELS)
    return str(path)


def test_dense_scores_are_evaluated_as_models_are(tmp_path, weights):
    found = evaluate_predictions(predictions=[write(tmp_path / "p.h5")], weights=weights)
    mixed = mix([SCORES[2], SCORES[0]], WEIGHTS)
    expected = dict(zip("abc", SCORES, strict=True)) | {"mixture": mixed}
    for evaluation in found.evaluations:
        assert evaluation.report == evaluate([(expected[evaluation.name], LABELS)], num_classes=60)
        assert evaluation.is_certified
    assert [e.name for e in found.evaluations] == ["a", "b", "c", "mixture"]


def test_of_truncated_scores_members_are_exact_and_a_mixture_is_bounded(tmp_path, weights):
    dense = evaluate_predictions(predictions=[write(tmp_path / "p.h5")], weights=weights)
    kept = evaluate_predictions(predictions=[write(tmp_path / "k.h5", top_k=25)], weights=weights)
    for full, part in zip(dense.evaluations[:3], kept.evaluations[:3], strict=True):
        assert part.is_certified
        assert part.report.metrics.gap == pytest.approx(full.report.metrics.gap, abs=1e-12)
    low, high = kept.evaluations[3].gap_interval
    assert low < high
    assert low <= dense.evaluations[3].report.metrics.gap <= high
    assert low <= kept.evaluations[3].report.metrics.gap <= high


def test_a_member_may_be_called_mixture(tmp_path):
    names = ("a", "mixture", "c")
    weights = tmp_path / "w.json"
    weights.write_text(MixtureWeights.uniform(names).to_json())
    path = write(tmp_path / "p.h5", members=names)
    found = evaluate_predictions(predictions=[path], weights=str(weights)).evaluations
    assert [e.name for e in found] == [*names, "mixture"]
    assert found[1].report == evaluate([(SCORES[1], LABELS)], num_classes=60)


def test_the_command_shows_what_is_certain(tmp_path, weights):
    path = write(tmp_path / "k.h5", top_k=25)
    done = CliRunner().invoke(cli, ["eval", "--predictions", path, "--weights", weights, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["evaluations"][3]["name"] == "mixture"
    assert "exact" in done.stderr
    assert "the top 25 are known" in done.stderr


def test_bad_input_is_named(tmp_path):
    few = write(tmp_path / "few.h5", top_k=10)
    with pytest.raises(PredictionsError, match="keeps the top 10"):
        evaluate_predictions(predictions=[few])
    foreign = tmp_path / "f.json"
    foreign.write_text(MixtureWeights.uniform("ax").to_json())
    with pytest.raises(MixtureWeightsError, match="over a, x, the members are a, b, c"):
        evaluate_predictions(predictions=[few], weights=str(foreign))


def test_a_file_that_holds_no_mixture_is_named(tmp_path):
    path = write(tmp_path / "p.h5")
    broken = tmp_path / "broken.json"
    broken.write_text(WEIGHTS.to_json().replace("0.7", "0.9"))
    with pytest.raises(
        MixtureWeightsError, match=r"broken\.json' holds no mixture\. .* sum to 1\.2"
    ):
        evaluate_predictions(predictions=[path], weights=str(broken))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --model and --data"),
        (["--model", "m"], "Give --model and --data"),
        (["--model", "m", "--data", "d", "--weights", "w"], "--weights needs --predictions"),
        (["--predictions", "p", "--data", "d"], "--data does not go with --predictions"),
        (["--predictions", "p", "--watch"], "--watch does not go with --predictions"),
    ],
)
def test_options_of_models_and_of_caches_do_not_mix(arguments, message):
    done = CliRunner().invoke(cli, ["eval", *arguments])
    assert done.exit_code == 2
    assert message in done.output
