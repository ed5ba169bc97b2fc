"""The step and the command `compare`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import MixtureWeightsError
from yt8m_ensemble.steps.compare import compare_predictions
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import MixtureWeights

SCORES, LABELS = make_predictions()


@pytest.fixture
def predictions(tmp_path):
    return write(tmp_path / "p.h5")


def write(path, *, top_k=None):
    path = str(path)
    with PredictionsWriter(
        path, members="abc", digests="abc", num_classes=60, top_k=top_k
    ) as writer:
        writer.append(np.array([b"v%03d" % n for n in range(200)]), SCORES, LABELS)
    return path


@pytest.mark.slow
def test_the_command_compares_and_draws(tmp_path, predictions):
    plot = tmp_path / "c.png"
    arguments = ["compare", "--predictions", predictions, "--plot", str(plot), "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["comparison"]["best_single"] == "a"
    assert "a / c" in done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_truncated_predictions_bound_the_mixtures_gap(tmp_path, predictions):
    weights = tmp_path / "w.json"
    weights.write_text(MixtureWeights.normalized("ca", [0.3, 0.7], space="logit").to_json())
    dense = compare_predictions(predictions=[predictions], weights=str(weights))
    assert dense.gap_interval is None
    kept = write(tmp_path / "k.h5", top_k=30)
    truncated = compare_predictions(predictions=[kept], weights=str(weights))
    assert truncated.gap_interval is not None
    low, high = truncated.gap_interval
    assert low <= dense.comparison.gaps["mixture"] <= high
    assert low < high
    done = CliRunner().invoke(cli, ["compare", "--predictions", kept])
    assert "so these are estimates" in done.output


def test_weights_may_name_some_members_in_any_order(tmp_path, predictions):
    path = tmp_path / "w.json"
    path.write_text(MixtureWeights.normalized("ca", [0.3, 0.7], space="logit").to_json())
    result = compare_predictions(predictions=[predictions], weights=str(path))
    assert list(result.comparison.gaps) == ["c", "a", "mixture"]
    path.write_text(MixtureWeights.uniform("ax").to_json())
    with pytest.raises(MixtureWeightsError, match="over a, x, the members are a, b, c") as absent:
        compare_predictions(predictions=[predictions], weights=str(path))
    assert absent.value.details["absent"] == ["x"]


def test_classes_are_called_by_their_names(predictions, tmp_path):
    vocabulary = tmp_path / "v.csv"
    vocabulary.write_text("Index,Name\n" + "".join(f'{n},"No. {n}, ö"\n' for n in range(1000)))
    arguments = ["compare", "--predictions", predictions]
    done = CliRunner().invoke(cli, [*arguments, "--vocabulary", str(vocabulary), "--json"])
    assert done.exit_code == 0, done.output
    classes = json.loads(done.stdout)["comparison"]["classes"]
    assert classes
    for found in classes:
        assert found["name"] == f"No. {found['class_id']}, ö"
        assert f"{found['class_id']} {found['name']}" in done.stderr
    unnamed = CliRunner().invoke(cli, arguments)
    assert "No." not in unnamed.output
