"""The step and the command `compare`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import (
    AlignmentError,
    MixtureWeightsError,
    PredictionsError,
    UsageError,
)
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
    assert dense.comparison is not None
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
    assert result.comparison is not None
    assert list(result.comparison.gaps) == ["c", "a", "mixture"]
    path.write_text(MixtureWeights.uniform("ax").to_json())
    with pytest.raises(MixtureWeightsError, match="over a, x, the members are a, b, c") as absent:
        compare_predictions(predictions=[predictions], weights=str(path))
    assert absent.value.details["absent"] == ["x"]


def other(path, *, members="abc", shift=0.0, order=slice(None)):
    ids = np.array([b"v%03d" % n for n in range(200)])
    moved = (SCORES * (1 - shift) + shift * SCORES[::-1])[:, order]
    with PredictionsWriter(
        str(path), members=members, digests=members, num_classes=60, top_k=None
    ) as writer:
        writer.append(ids[order], moved[: len(members)], LABELS[order])
    return str(path)


def test_members_of_one_name_are_tested_for_equivalence(tmp_path, predictions):
    weights = tmp_path / "w.json"
    weights.write_text(MixtureWeights.uniform("ca").to_json())
    changed = other(tmp_path / "q.h5", shift=0.5)
    arguments = ["compare", predictions, changed, "--margin", "0.0001", "--weights", str(weights)]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["equivalence"]
    assert list(found) == ["a", "b", "c", "mixture"]
    # The middle member is mixed with itself, the outer ones with each other.
    assert found["b"]["equivalent"]
    assert found["b"]["difference"] == pytest.approx(0, abs=1e-9)
    assert not found["c"]["equivalent"]
    assert found["c"]["difference"] > 0
    assert found["c"]["margin"] == 0.0001
    assert "c: different at a margin of 0.0001: GAP +" in done.stderr


def test_single_members_of_two_names_are_a_pair(tmp_path):
    first = other(tmp_path / "1.h5", members="x")
    second = other(tmp_path / "2.h5", members="y", order=np.arange(150, 20, -1))
    found = compare_predictions(before_and_after=[first, second], intersect=True)
    assert found.equivalence["x -> y"].difference == 0
    assert found.equivalence["x -> y"].num_videos == 130
    with pytest.raises(AlignmentError):
        compare_predictions(before_and_after=[first, second])


def test_what_cannot_be_paired_is_refused(tmp_path, predictions):
    strange = other(tmp_path / "q.h5", members="xy")
    with pytest.raises(PredictionsError, match="no member of one name is in both"):
        compare_predictions(before_and_after=[predictions, strange])
    with pytest.raises(UsageError, match="1 caches to test"):
        compare_predictions(before_and_after=[predictions])
    with pytest.raises(UsageError, match="Give two caches"):
        compare_predictions()
    with pytest.raises(UsageError, match="`--plot` draws"):
        compare_predictions(before_and_after=[predictions, strange], plot="x.png")


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
